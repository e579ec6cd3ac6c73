import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { planStaging, type RunningBuild, type WaitingBuild } from './plan-staging.js'

const waiting = (guid: string, spaceGuid: string, at: number, memoryMb = 1024): WaitingBuild => ({
  guid,
  spaceGuid,
  memoryMb,
  createdAt: new Date(at),
})
const running = (guid: string, spaceGuid: string, more: Partial<RunningBuild> = {}): RunningBuild => ({
  guid,
  spaceGuid,
  isHere: true,
  memoryMb: 1024,
  ...more,
})
const ROOM = { builds: 2, availableMb: 16_384, reserveMb: 512 }

describe('which build comes next', () => {
  it('takes spaces in turns, however many builds one of them sends', () => {
    const many = Array.from({ length: 5 }, (_, i) => waiting(`a${i}`, 'a', i))
    expect(planStaging([...many, waiting('b0', 'b', 100)], [], ROOM).start).toEqual(['a0', 'b0'])
    expect(planStaging([...many, waiting('b0', 'b', 100)], [running('a9', 'a')], ROOM).start).toEqual(['b0'])
  })

  it('counts what other machines stage for a space, but not as its own load', () => {
    const plan = planStaging([waiting('a1', 'a', 1), waiting('b1', 'b', 2)], [running('a0', 'a', { isHere: false })], ROOM)
    expect(plan.start).toEqual(['b1', 'a1'])
  })

  it('begins no more than memory allows, and says what it waits for', () => {
    const plan = planStaging([waiting('b', 'b', 1)], [running('a', 'a', { usedMb: 24 })], { ...ROOM, availableMb: 2_000 })
    expect(plan.start).toEqual([])
    expect(plan.waits.get('b')).toBe('1024 MB of memory are needed and 488 MB are free; it begins as soon as others end')
    expect(
      planStaging([waiting('b', 'b', 1)], [running('a', 'a', { usedMb: 800 })], { ...ROOM, availableMb: 2_000 }).start,
    ).toEqual(['b'])
  })

  it('stages what can never fit alone, rather than never', () => {
    expect(planStaging([waiting('huge', 'a', 1, 99_999), waiting('b', 'b', 2)], [], ROOM).start).toEqual(['huge'])
  })

  it('never begins more than there are places, begins something where nothing runs, and favours no space', () => {
    const build = fc.record({
      space: fc.constantFrom('a', 'b', 'c'),
      at: fc.nat({ max: 100 }),
      memoryMb: fc.constantFrom(512, 1024, 4096),
    })
    fc.assert(
      fc.property(
        fc.array(build, { maxLength: 12 }),
        fc.nat({ max: 3 }),
        fc.integer({ min: 1, max: 4 }),
        fc.nat({ max: 9_000 }),
        (all, present, builds, availableMb) => {
          const queue = all.map(({ space, at, memoryMb }, i) => waiting(`w${i}`, space, at, memoryMb))
          const under = Array.from({ length: present }, (_, i) => running(`r${i}`, ['a', 'b', 'c'][i % 3] ?? 'a'))
          const { start, waits } = planStaging(queue, under, { builds, availableMb, reserveMb: 256 })
          expect(start.length).toBeLessThanOrEqual(Math.max(0, builds - present))
          if (present === 0 && queue.length > 0) expect(start.length).toBeGreaterThan(0)
          expect([...start, ...waits.keys()].sort()).toEqual(queue.map(({ guid }) => guid).sort())
          for (const reason of waits.values()) expect(reason).not.toBe('')
          // A space never gets a second place before another that waits has its first.
          const count = (space: string) =>
            under.filter(({ spaceGuid }) => spaceGuid === space).length +
            start.filter((guid) => queue.find((each) => each.guid === guid)?.spaceGuid === space).length
          for (const guid of waits.keys()) {
            const space = queue.find((each) => each.guid === guid)?.spaceGuid ?? ''
            for (const begun of start) {
              const other = queue.find((each) => each.guid === begun)?.spaceGuid ?? ''
              if (other !== space)
                expect(count(other)).toBeLessThanOrEqual(
                  Math.max(count(space) + 1, under.filter(({ spaceGuid }) => spaceGuid === other).length),
                )
            }
          }
        },
      ),
    )
  })
})
