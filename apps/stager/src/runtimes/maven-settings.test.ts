import { describe, expect, it } from '@jest/globals'
import { centralMirror, mirrorsIn } from './maven-settings.js'

const settings = (...mirrors: [string, string][]): string =>
  `<settings><mirrors>${mirrors
    .map(([of, url]) => `<mirror><id>${of}</id>\n<mirrorOf> ${of} </mirrorOf><url>${url}/</url></mirror>`)
    .join('')}<!-- <mirror><mirrorOf>*</mirrorOf><url>http://old</url></mirror> --></mirrors></settings>`

describe('mirrors of settings.xml', () => {
  it.each([
    ['*', true],
    ['central', true],
    ['other,central', true],
    ['external:*', true],
    ['*,!central', false],
    ['other', false],
  ])('%s stands for the central repository: %s', (of, yes) => {
    const found = centralMirror(mirrorsIn(settings(['unrelated', 'http://a'], [of, 'http://mirror/a?b&amp;c'])))
    expect(found?.url).toBe(yes ? 'http://mirror/a?b&c' : undefined)
  })
})
