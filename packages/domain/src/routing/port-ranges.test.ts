import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { coversPorts, includesPort, parsePortRanges, pickPort, portsOf } from './port-ranges.js'

describe('parsePortRanges', () => {
  it.each([
    ['', []],
    ['1024', [{ first: 1024, last: 1024 }]],
    ['1024-1033, 2000', [{ first: 1024, last: 1033 }, { first: 2000, last: 2000 }]], // prettier-ignore
    ['2000,1024-1033', [{ first: 1024, last: 1033 }, { first: 2000, last: 2000 }]], // prettier-ignore
    ['80', undefined],
    ['1024-65536', undefined],
    ['1033-1024', undefined],
    ['1024-1030,1030', undefined],
    ['1024,', undefined],
    ['all', undefined],
  ])('%s', (text, expected) => expect(parsePortRanges(text)).toEqual(expected))
})

describe('ports', () => {
  const ranges = parsePortRanges('2000-2002,3000') ?? []

  it('counts what is in', () => {
    expect(portsOf(ranges)).toEqual([2000, 2001, 2002, 3000])
    expect([1999, 2000, 2002, 2003, 3000].map((port) => includesPort(ranges, port))).toEqual([false, true, true, false, true])
    expect(coversPorts(ranges, [{ first: 2001, last: 2002 }])).toBe(true)
    expect(coversPorts(ranges, [{ first: 2001, last: 2003 }])).toBe(false)
  })

  it('picks only what is free, and everything that is', () =>
    fc.assert(
      fc.property(
        fc.subarray(portsOf(ranges)),
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        (taken, random) => {
          const port = pickPort(ranges, new Set(taken), random)
          if (taken.length === 4) expect(port).toBeUndefined()
          else expect(portsOf(ranges).filter((each) => !taken.includes(each))).toContain(port)
        },
      ),
    ))
})
