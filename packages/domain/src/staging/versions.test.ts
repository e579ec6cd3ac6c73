import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import semver from 'semver'
import { compareKeys, versionKey } from './version-key.js'
import { parseVersionRange, VersionRangeError } from './version-range.js'

const isIn = (version: string, range: string): boolean => {
  const key = versionKey(version)
  return parseVersionRange(range).some(({ from, to }) => {
    const [low, high] = [from ? compareKeys(key, from.key) : 1, to ? compareKeys(key, to.key) : -1]
    return (low > 0 || (low === 0 && from?.inclusive === true)) && (high < 0 || (high === 0 && to?.inclusive === true))
  })
}

describe('versions', () => {
  it('sort as their ecosystems have it', () => {
    for (const order of [
      ['1.0.0-alpha', '1.0.0-alpha.1', '1.0.0-beta', '1.0.0-beta.2', '1.0.0-beta.11', '1.0.0-rc.1', '1.0.0', '1.0.1'],
      ['1.0.dev1', '1.0a1', '1.0b2', '1.0rc1', '1.0', '1.0.post1', '1.1'],
      ['2.17.0-alpha1', '2.17.0-M1', '2.17.0-rc1', '2.17.0-SNAPSHOT', '2.17.0', '2.17.1'],
      ['v0.0.0-20210101000000-abcdef', 'v0.0.0-20230101000000-012345', 'v0.1.0', 'v1.0.0+incompatible', 'v1.10.0'],
      ['9.0.108', '10.1.43', '10.1.44'],
    ])
      expect([...order].reverse().sort((a, b) => compareKeys(versionKey(a), versionKey(b)))).toEqual(order)
    for (const [a, b] of [
      ['1.0', '1.0.0'],
      ['5.3.39.RELEASE', '5.3.39.Final'],
      ['1.2.3+build5', '1.2.3'],
      ['v1.2.3', '1.2.3'],
    ] as const)
      expect([a, compareKeys(versionKey(a).slice(0, 5), versionKey(b).slice(0, 5))]).toEqual([a, 0])
  })

  it('sort as semver sorts whatever semver can be', () => {
    const number = fc.nat({ max: 1_000_000 })
    const release = fc.tuple(number, number, number).map((parts) => parts.join('.'))
    const preview = fc.tuple(release, fc.constantFrom('alpha', 'beta', 'rc'), number).map(([v, word, n]) => `${v}-${word}.${n}`)
    fc.assert(
      fc.property(fc.oneof(release, preview), fc.oneof(release, preview), (a, b) => {
        expect(Math.sign(compareKeys(versionKey(a), versionKey(b)))).toBe(semver.compare(a, b))
      }),
    )
  })

  it.each<[string, readonly string[], readonly string[]]>([
    ['*', ['0.1.0', '99.0.0'], []],
    ['', ['1.0.0-rc.1'], []],
    ['4.17.21', ['4.17.21'], ['4.17.20', '4.17.22']],
    ['=4.17.21', ['4.17.21'], ['4.17.20']],
    ['1.2.x', ['1.2.0', '1.2.99'], ['1.3.0', '1.1.9']],
    ['1', ['1.0.0', '1.99.0'], ['2.0.0', '2.0.0-rc.1', '0.9.0']],
    ['==3.1.*', ['3.1.0', '3.1.5'], ['3.2']],
    ['^1.2.3', ['1.2.3', '1.99.0'], ['1.2.2', '2.0.0', '2.0.0-alpha.1']],
    ['^0.2.3', ['0.2.3', '0.2.9'], ['0.3.0']],
    ['^0.0.3', ['0.0.3'], ['0.0.4']],
    ['~1.2.3', ['1.2.3', '1.2.9'], ['1.3.0']],
    ['~=1.4.2', ['1.4.2', '1.4.9'], ['1.5.0']],
    ['~>1.4', ['1.4.0', '1.9'], ['2.0']],
    ['>=2.0 <2.17.1', ['2.0', '2.17.0'], ['2.17.1', '1.9']],
    ['>=2.0,<2.17.1', ['2.14.1'], ['2.17.1']],
    ['< 2.17.1', ['2.17.0', '1.0'], ['2.17.1']],
    ['[2.0,2.17.1)', ['2.0', '2.17.0'], ['2.17.1']],
    ['(,2.17.1)', ['0.1', '2.17.0'], ['2.17.1']],
    ['[1.0]', ['1.0'], ['1.0.1']],
    ['[1.0,2.0),[3.0,)', ['1.5', '4.0'], ['2.0', '2.5']],
    ['1.2.3 - 2.3.4', ['1.2.3', '2.3.4'], ['2.3.5']],
    ['1.0 - 2.3', ['2.3.9'], ['2.4.0']],
    ['1.x || >=3', ['1.5.0', '3.0.0'], ['2.0.0']],
  ])('%j means', (range, inside, outside) => {
    for (const version of inside) expect([version, isIn(version, range)]).toEqual([version, true])
    for (const version of outside) expect([version, isIn(version, range)]).toEqual([version, false])
  })

  it('means by ^, ~ and comparators what semver means', () => {
    const small = fc.nat({ max: 4 })
    const version = fc.tuple(small, small, small).map((parts) => parts.join('.'))
    const range = fc.tuple(fc.constantFrom('^', '~', '>=', '<', '<=', '>', ''), version).map((parts) => parts.join(''))
    fc.assert(
      fc.property(version, range, range, (v, a, b) => {
        expect([v, a, b, isIn(v, `${a} ${b}`)]).toEqual([v, a, b, semver.satisfies(v, `${a} ${b}`)])
      }),
    )
  })

  it('says what is no range', () => {
    expect(() => parseVersionRange('the best')).toThrow(VersionRangeError)
  })
})
