import fc from 'fast-check'
import { goDuration } from './go-duration.js'
import { type HeldByCell, isStaleLease, planCell, type WantedOfCell } from './plan-cell.js'

const held = (state: HeldByCell['state'], announced = true): HeldByCell => ({ instanceGuid: 'a', state, announced })
const wanted = (want: 'run' | 'stop'): WantedOfCell => ({ instanceGuid: 'a', want })

describe('planCell', () => {
  it.each<[string, WantedOfCell[], HeldByCell[], { start?: string[]; stop?: string[]; forget?: string[] }]>([
    ['starts what is wanted and missing', [wanted('run')], [], { start: ['a'] }],
    ['leaves alone what runs and is wanted', [wanted('run')], [held('running')], {}],
    ['keeps telling of a crash until nobody asks', [wanted('run')], [held('crashed')], {}],
    ['stops what is to be stopped', [wanted('stop')], [held('running')], { stop: ['a'] }],
    ['also before the scheduler has heard of it', [wanted('stop')], [held('starting', false)], { stop: ['a'] }],
    ['does not stop twice', [wanted('stop')], [held('stopping')], {}],
    ['has nothing to stop', [wanted('stop')], [], {}],
    ['stops what nobody names', [], [held('running')], { stop: ['a'] }],
    ['but tells of it first', [], [held('running', false)], {}],
    ['forgets a crash that was told', [], [held('crashed')], { forget: ['a'] }],
    ['but no other', [], [held('crashed', false)], {}],
  ])('%s', (_name, wants, holds, expected) => {
    expect(planCell(wants, holds)).toEqual({ start: [], stop: [], forget: [], ...expected })
  })

  it('plans nothing more once its plan is carried out', () => {
    const guids = fc.constantFrom('a', 'b', 'c', 'd')
    const anyWanted = fc.uniqueArray(fc.record({ instanceGuid: guids, want: fc.constantFrom('run' as const, 'stop' as const) }), {
      selector: ({ instanceGuid }) => instanceGuid,
    })
    const anyHeld = fc.uniqueArray(
      fc.record({
        instanceGuid: guids,
        state: fc.constantFrom('starting' as const, 'running' as const, 'stopping' as const, 'crashed' as const),
        announced: fc.boolean(),
      }),
      { selector: ({ instanceGuid }) => instanceGuid },
    )
    fc.assert(
      fc.property(anyWanted, anyHeld, (wants, holds) => {
        const plan = planCell(wants, holds)
        const gone = new Set([...plan.stop, ...plan.forget])
        const after = [
          ...holds.filter(({ instanceGuid }) => !gone.has(instanceGuid)),
          ...plan.start.map((instanceGuid) => ({ instanceGuid, state: 'running' as const, announced: true })),
        ]
        expect(planCell(wants, after)).toEqual({ start: [], stop: [], forget: [] })
        for (const { instanceGuid } of wants.filter(({ want }) => want === 'run')) expect(gone.has(instanceGuid)).toBe(false)
      }),
    )
  })
})

it('knows a deposed leader by its token', () => {
  expect(isStaleLease('9', '10')).toBe(true)
  expect(isStaleLease('10', '10')).toBe(false)
})

it.each([
  [0, '0s'],
  [850, '850ms'],
  [1000, '1s'],
  [60_003, '1m0.003s'],
  [61_500.4, '1m1.5s'],
  [7_201_000, '2h0m1s'],
])('prints %d ms as Go does: %s', (ms, text) => expect(goDuration(ms)).toBe(text))
