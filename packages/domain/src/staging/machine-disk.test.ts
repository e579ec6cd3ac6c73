import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { diskReserveBytes, isMachineFull, untilNextLookMs } from './machine-disk.js'

const MIB = 1024 ** 2
const GIB = 1024 ** 3

describe("the machine's disk beside builds", () => {
  it.each<[string, number, number]>([
    ['a small disk', 1 * GIB, 256 * MIB],
    ['an ordinary one', 10 * GIB, 1 * GIB],
    ['a large one', 500 * GIB, 2 * GIB],
  ])('keeps a reserve: %s', (_what, totalBytes, expected) => expect(diskReserveBytes({ totalBytes })).toBe(expected))

  it('is looked at more often the less is left', () => {
    const at = (spare: number) => untilNextLookMs({ totalBytes: 500 * GIB, freeBytes: 2 * GIB + spare })
    expect([at(50 * GIB), at(GIB), at(512 * MIB), at(100 * MIB), at(0), at(-GIB)]).toEqual([250, 250, 125, 24, 10, 10])
  })

  it('cannot be filled between two looks, however the writing goes', () => {
    const totals = fc.integer({ min: 1, max: 4096 }).map((gib) => gib * GIB)
    fc.assert(
      fc.property(
        totals,
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.double({ min: 0, max: 4 * GIB, noNaN: true }),
        (totalBytes, part, rate) => {
          let freeBytes = totalBytes * part
          for (let looks = 0; looks < 100_000 && !isMachineFull({ totalBytes, freeBytes }) && rate > MIB; looks++)
            freeBytes -= (untilNextLookMs({ totalBytes, freeBytes }) / 1000) * rate
          // What is left once the reserve is touched is enough for a quarter of it to go before the end comes.
          if (part * totalBytes > diskReserveBytes({ totalBytes }) && rate > 64 * MIB)
            expect(freeBytes).toBeGreaterThan(diskReserveBytes({ totalBytes }) * 0.75)
        },
      ),
      { numRuns: 200 },
    )
  })
})
