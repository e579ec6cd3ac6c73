import { describe, expect, it } from '@jest/globals'
import { chooseVersion, newestPerLine, NoSuchVersion, noSuchVersion, publishedVersions, readRange } from './choose-version.js'

const published = publishedVersions([
  '17.0.21.1',
  '16.0.9.2',
  '21.0.8.0',
  '21.0.8.2',
  '25.0.2.1',
  '26.0.0-beta.1',
  '0.nothing',
  '1.22',
])

describe('chooseVersion', () => {
  it.each([
    ['21.+', '21.0.8', '21.0.8.2'],
    ['21.x', '21.0.8', '21.0.8.2'],
    ['v17', '17.0.21', '17.0.21.1'],
    ['*', '25.0.2', '25.0.2.1'],
    ['>=17, <22', '21.0.8', '21.0.8.2'],
    ['17.*|21.*', '21.0.8', '21.0.8.2'],
    ['1.22.x', '1.22.0', '1.22'],
    ['26.0.0-beta.1', '26.0.0-beta.1', '26.0.0-beta.1'],
  ])('%s is %s, which its source calls %s', (wanted, version, name) => {
    expect(chooseVersion(readRange('java', wanted), published)).toEqual({ version, name })
  })

  it('knows aliases, whatever their case', () => {
    expect(readRange('node', 'LTS/*', { 'lts/*': '24.x' })).toBe('24.x')
  })

  it('says what a range looks like, what there is, and what was out of reach', () => {
    expect(() => readRange('node', 'the best')).toThrow(NoSuchVersion)
    expect(chooseVersion(readRange('java', '99.x'), published)).toBeUndefined()
    const { message } = noSuchVersion('java', '99.x', ['17.0.9', '17.0.8', '21.0.8'], ['the index: refused'])
    expect(message).toBe("no version of java matches '99.x'. Available: 21.0.8, 17.0.9\nNot reached: the index: refused")
    expect(noSuchVersion('x', '1', []).message).toContain('None is available here')
  })

  it('lists minor lines where there is one major line only', () => {
    expect(newestPerLine(['1.26.1', '1.26.3', '1.25.0', '1.27.0-rc.1'])).toEqual(['1.26.3', '1.25.0'])
  })
})
