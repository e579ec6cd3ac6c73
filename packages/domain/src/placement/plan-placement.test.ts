import fc from 'fast-check'
import { planPlacement, type PlacementCell, type PlacementRequest } from './plan-placement.js'

const cell = (id: string, over: Partial<PlacementCell> = {}): PlacementCell => ({
  id,
  zone: 'z1',
  stacks: ['cflinuxfs4'],
  memoryMb: 1024,
  diskMb: 10_000,
  maxInstances: 100,
  usedMemoryMb: 0,
  usedDiskMb: 0,
  usedInstances: 0,
  starting: 0,
  instancesOf: new Map(),
  ...over,
})
const request = (over: Partial<PlacementRequest> = {}): PlacementRequest => ({
  processGuid: 'p',
  index: 0,
  memoryMb: 128,
  diskMb: 100,
  stack: 'cflinuxfs4',
  ...over,
})
const times = (count: number, over: Partial<PlacementRequest> = {}) =>
  Array.from({ length: count }, (_, index) => request({ index, ...over }))

describe('planPlacement', () => {
  it.each<[string, PlacementCell[], Partial<PlacementRequest>, string]>([
    [
      'memory lacks everywhere',
      [cell('a', { memoryMb: 64 }), cell('b', { usedMemoryMb: 1000 })],
      {},
      'insufficient resources: memory',
    ],
    ['two resources lack everywhere', [cell('a', { memoryMb: 64, diskMb: 10 })], {}, 'insufficient resources: disk, memory'],
    ['a different one lacks on each', [cell('a', { memoryMb: 64 }), cell('b', { diskMb: 10 })], {}, 'insufficient resources'],
    ['no cell may take another', [cell('a', { maxInstances: 3, usedInstances: 3 })], {}, 'insufficient resources: containers'],
    ['nobody has the stack', [cell('a'), cell('b')], { stack: 'windows' }, 'found no compatible cell for required rootfs'],
    [
      'who has the stack has no memory',
      [cell('a', { stacks: ['other'] }), cell('b', { memoryMb: 1 })],
      {},
      'insufficient resources: memory',
    ],
    ['there is no cell', [], {}, 'unable to communicate to compatible cells'],
  ])('says so when %s', (_name, cells, over, error) => {
    expect(planPlacement([request(over)], cells)).toMatchObject({ placed: [], failed: [{ error }] })
  })

  it('keeps instances of a process apart, first by zone', () => {
    const cells = [cell('a'), cell('b'), cell('c', { zone: 'z2', usedMemoryMb: 800 })]
    const { placed } = planPlacement(times(3), cells)
    expect(placed.map(({ cellId }) => cellId)).toEqual(['a', 'c', 'b'])
  })

  it('prefers the cell with the lower load, and tells why others were excluded', () => {
    const { placed } = planPlacement([request()], [cell('a', { usedMemoryMb: 500 }), cell('b'), cell('c', { memoryMb: 100 })])
    expect(placed).toMatchObject([{ cellId: 'b', excluded: [{ cellId: 'c', constraints: ['memory'] }] }])
  })

  it('serves the first instance of everybody before the second of anybody', () => {
    const { placed, failed } = planPlacement(
      [...times(2, { processGuid: 'p' }), ...times(1, { processGuid: 'q' })],
      [cell('a', { memoryMb: 256 })],
    )
    expect(placed.map(({ request: { processGuid, index } }) => [processGuid, index])).toEqual([
      ['p', 0],
      ['q', 0],
    ])
    expect(failed).toHaveLength(1)
  })

  it('limits how many start at once', () => {
    const { placed, failed } = planPlacement(times(5), [cell('a', { starting: 1 })], { maxStarting: 3 })
    expect(placed).toHaveLength(2)
    expect(failed[0]?.error).toBe('waiting to start instance: reached in-flight start limit')
  })

  it('never gives a cell more than it has, and places all that fits one by one', () =>
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            memoryMb: fc.integer({ min: 0, max: 2048 }),
            diskMb: fc.integer({ min: 0, max: 2048 }),
            maxInstances: fc.integer({ min: 0, max: 8 }),
            zone: fc.constantFrom('z1', 'z2', 'z3'),
            usedMemoryMb: fc.integer({ min: 0, max: 1024 }),
          }),
          { maxLength: 6 },
        ),
        fc.array(
          fc.record({
            processGuid: fc.constantFrom('p', 'q', 'r'),
            index: fc.integer({ min: 0, max: 5 }),
            memoryMb: fc.integer({ min: 1, max: 512 }),
            diskMb: fc.integer({ min: 1, max: 512 }),
          }),
          { maxLength: 30 },
        ),
        (offered, wanted) => {
          const cells = offered.map((over, i) => cell(`c${i}`, over))
          const { placed, failed } = planPlacement(
            wanted.map((over) => request(over)),
            cells,
          )
          expect(placed.length + failed.length).toBe(wanted.length)
          for (const each of cells) {
            const mine = placed.filter(({ cellId }) => cellId === each.id)
            const sum = (of: 'memoryMb' | 'diskMb') => mine.reduce((total, { request: taken }) => total + taken[of], 0)
            if (mine.length > 0) expect(each.usedMemoryMb + sum('memoryMb')).toBeLessThanOrEqual(each.memoryMb)
            expect(sum('diskMb')).toBeLessThanOrEqual(each.diskMb)
            expect(mine.length).toBeLessThanOrEqual(each.maxInstances)
          }
        },
      ),
    ))

  it('spreads evenly over zones and cells where there is room', () =>
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 1, max: 4 }),
        fc.integer({ min: 1, max: 30 }),
        (zones, perZone, count) => {
          const cells = Array.from({ length: zones * perZone }, (_, i) =>
            cell(`c${i}`, { zone: `z${i % zones}`, memoryMb: 1e6, diskMb: 1e6 }),
          )
          const { placed } = planPlacement(times(count), cells)
          const countsBy = (keyOf: (id: string) => string, keys: string[]) =>
            keys.map((key) => placed.filter(({ cellId }) => keyOf(cellId) === key).length)
          const zoneOf = (id: string) => cells.find((each) => each.id === id)!.zone
          for (const counts of [
            countsBy(zoneOf, [...new Set(cells.map(({ zone }) => zone))]),
            countsBy(
              (id) => id,
              cells.map(({ id }) => id),
            ),
          ])
            expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1)
        },
      ),
    ))
})
