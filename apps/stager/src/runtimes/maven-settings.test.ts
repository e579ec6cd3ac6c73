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
    ['external:http:*', false],
    ['*,!central', false],
    ['other', false],
  ])('%s stands for the central repository: %s', (of, yes) => {
    const found = centralMirror(mirrorsIn(settings(['unrelated', 'http://a'], [of, 'http://mirror/a?b&amp;c'])))
    expect(found?.url).toBe(yes ? 'http://mirror/a?b&c' : undefined)
  })

  it('one that names the repository comes before patterns, and what Maven shall not reach is no mirror', () => {
    const both = mirrorsIn(settings(['*', 'http://all'], ['central', 'http://own']))
    expect(centralMirror(both)?.url).toBe('http://own')
    // As every installation of Maven has it.
    const blocker = '<id>b</id><mirrorOf>external:http:*</mirrorOf><url>http://0.0.0.0/</url><blocked>true</blocked>'
    expect(mirrorsIn(`<settings><mirrors><mirror>${blocker}</mirror></mirrors></settings>`)).toEqual([])
  })
})
