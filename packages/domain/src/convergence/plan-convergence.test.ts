import fc from 'fast-check'
import { allowsTransition, instanceKeyText, type ActualInstance } from '../instances/instance.js'
import { viewCells, type CellView } from './cell-loss.js'
import { planConvergence, type ConvergenceAction, type ConvergenceWorld, type DesiredProcess } from './plan-convergence.js'

const now = new Date('2026-01-01T00:00:00Z')
const ago = (ms: number): Date => new Date(now.getTime() - ms)
const PROCESS: DesiredProcess = { guid: 'p', specGuid: 'p-2', specVersion: 2, instances: 2 }

const row = (over: Partial<ActualInstance> = {}): ActualInstance => {
  const state = over.state ?? 'running'
  const onCell = state === 'claimed' || state === 'running' || state === 'stopping'
  return {
    processGuid: 'p',
    specVersion: 2,
    specGuid: 'p-2',
    index: 0,
    presence: 'ordinary',
    instanceGuid: onCell ? 'i' : null,
    cellId: onCell ? 'a' : null,
    state,
    stateSince: ago(1000),
    crashCount: 0,
    crashedAt: null,
    placementError: null,
    routable: state === 'running',
    stopPhase: state === 'stopping' ? 'term' : null,
    stopReason: null,
    stopSince: null,
    ...over,
  }
}
const cells = (over: Partial<CellView> = {}): CellView => ({
  present: new Set(['a', 'b', 'c']),
  draining: new Set(),
  hold: undefined,
  ...over,
})
const lost = cells({ present: new Set(['b', 'c']) })
const draining = cells({ draining: new Set(['a']) })
const plan = (actual: ActualInstance[], over: Partial<ConvergenceWorld> = {}, process: Partial<DesiredProcess> = {}) =>
  planConvergence({ desired: [{ ...PROCESS, instances: 1, ...process }], actual, cells: cells(), now, ...over })

describe('planConvergence', () => {
  it.each<[string, ConvergenceAction[], object[]]>([
    [
      'creates what is missing',
      plan([row()], {}, { instances: 3 }),
      [
        { kind: 'create', index: 1, reason: 'missing' },
        { kind: 'create', index: 2 },
      ],
    ],
    ['leaves alone what is right', plan([row()]), []],
    ['stops an index above the count', plan([row(), row({ index: 1 })]), [{ kind: 'stop', reason: 'index-too-high' }]],
    [
      'forgets an unclaimed index above the count',
      plan([row(), row({ index: 1, state: 'unclaimed' })]),
      [{ kind: 'remove', reason: 'index-too-high' }],
    ],
    [
      'stops an older version and starts the new one',
      plan([row({ specVersion: 1, specGuid: 'p-1' })]),
      [
        { kind: 'stop', reason: 'older-version' },
        { kind: 'create', index: 0 },
      ],
    ],
    [
      'stops what nobody wants',
      planConvergence({ desired: [], actual: [row()], cells: cells(), now }),
      [{ kind: 'stop', reason: 'not-desired' }],
    ],
    ['leaves a young crash alone', plan([row({ state: 'crashed', crashCount: 3, crashedAt: ago(29_000) })]), []],
    [
      'restarts a crash whose pause is over',
      plan([row({ state: 'crashed', crashCount: 3, crashedAt: ago(31_000) })]),
      [{ kind: 'unclaim', reason: 'backoff-elapsed' }],
    ],
    [
      'keeps as suspect what runs on a silent cell and replaces it',
      plan([row()], { cells: lost }),
      [
        { kind: 'change-presence', to: 'suspect' },
        { kind: 'create', index: 0, reason: 'cell-lost' },
      ],
    ],
    [
      'places anew what was starting on a silent cell',
      plan([row({ state: 'claimed' })], { cells: lost }),
      [{ kind: 'unclaim', reason: 'cell-lost' }],
    ],
    [
      'never makes two suspects of an index',
      plan([row({ presence: 'suspect', cellId: 'x' }), row()], { cells: lost }),
      [{ kind: 'unclaim', reason: 'cell-lost' }],
    ],
    ['holds while too many cells are silent', plan([row()], { cells: { ...lost, hold: 'most are gone' } }), []],
    [
      'stops what was stopped by the user even then',
      planConvergence({ desired: [], actual: [row()], cells: { ...lost, hold: 'most are gone' }, now }),
      [{ kind: 'stop', reason: 'not-desired' }],
    ],
    [
      'takes a suspect back whose replacement does not run yet',
      plan([row({ presence: 'suspect' }), row({ state: 'claimed', cellId: 'b' })]),
      [
        { kind: 'remove', reason: 'suspect-is-back' },
        { kind: 'change-presence', to: 'ordinary' },
      ],
    ],
    [
      'stops a suspect that is back too late',
      plan([row({ presence: 'suspect' }), row({ cellId: 'b' })]),
      [{ kind: 'stop', reason: 'replaced' }],
    ],
    [
      'forgets a silent suspect once its replacement runs',
      plan([row({ presence: 'suspect' }), row({ cellId: 'b' })], { cells: lost }),
      [{ kind: 'remove', reason: 'replaced' }],
    ],
    [
      'keeps it while the replacement is not ready',
      plan([row({ presence: 'suspect' }), row({ cellId: 'b', routable: false })], { cells: lost }),
      [],
    ],
    [
      'moves what runs off a draining cell, start-first',
      plan([row()], { cells: draining }),
      [
        { kind: 'change-presence', to: 'evacuating' },
        { kind: 'create', reason: 'cell-draining' },
      ],
    ],
    [
      'moves nothing where there is nowhere to go',
      plan([row()], { cells: cells({ present: new Set(['a']), draining: new Set(['a']) }) }),
      [],
    ],
    [
      'lets the old copy serve until the new one does',
      plan([row({ presence: 'evacuating' }), row({ state: 'claimed', cellId: 'b' })], { cells: draining }),
      [],
    ],
    [
      'then stops it',
      plan([row({ presence: 'evacuating' }), row({ cellId: 'b' })], { cells: draining }),
      [{ kind: 'stop', reason: 'evacuated' }],
    ],
    [
      'begins the stop that a user asked for',
      plan([row({ state: 'stopping', stopPhase: null, stopReason: 'restart' })]),
      [{ kind: 'stop', reason: 'restart' }],
    ],
    ['waits for a stop under way', plan([row({ state: 'stopping' })]), []],
    [
      'does not wait for a cell that is gone',
      plan([row({ state: 'stopping' })], { cells: lost }),
      [{ kind: 'unclaim', reason: 'cell-lost' }],
    ],
    [
      'restarts an index that was not running',
      plan([row({ state: 'stopping', cellId: null, instanceGuid: null, stopPhase: null })]),
      [{ kind: 'unclaim', reason: 'restart' }],
    ],
  ])('%s', (_name, actions, expected) => {
    expect(actions).toMatchObject(expected)
  })

  it('comes to rest: applied in full, at most three times, it finds nothing more to do', () =>
    fc.assert(
      fc.property(anyWorld(), (world) => {
        let actual = [...world.actual]
        for (let round = 0; round < 3; round++) actual = applyAll({ ...world, actual })
        expect(planConvergence({ ...world, actual })).toEqual([])
      }),
    ))

  it('never makes two ordinary rows of an index, nor leaves the table of transitions', () =>
    fc.assert(
      fc.property(anyWorld(), (world) => {
        const keys = applyAll(world).map(instanceKeyText)
        expect(new Set(keys).size).toBe(keys.length)
      }),
    ))

  it('ends with exactly the wanted instances, whatever it began with', () =>
    fc.assert(
      fc.property(anyWorld(), (world) => {
        let actual = [...world.actual]
        const healthy = cells()
        const later = new Date(now.getTime() + 24 * 3600_000)
        for (let round = 0; round < 12; round++) {
          actual = applyAll({ ...world, actual, cells: healthy, now: later })
          actual = actual.filter(({ state }) => state !== 'stopping').map(start)
        }
        const kept = actual.map(({ processGuid, specVersion, index, presence }) => ({
          processGuid,
          specVersion,
          index,
          presence,
        }))
        const wanted = world.desired.flatMap(({ guid, specVersion, instances }) =>
          Array.from({ length: instances }, (_, index) => ({ processGuid: guid, specVersion, index, presence: 'ordinary' })),
        )
        expect(sorted(kept)).toEqual(sorted(wanted))
      }),
    ))
})

const sorted = (items: readonly object[]): string[] => items.map((item) => JSON.stringify(item)).sort()

/** What a good cell makes of each row. */
const start = (each: ActualInstance): ActualInstance =>
  each.state === 'unclaimed' || each.state === 'claimed'
    ? { ...each, state: 'running', cellId: 'b', instanceGuid: `${instanceKeyText(each)}-new`, routable: true }
    : { ...each, routable: each.state === 'running' }

/** Carries out a plan in the order in which the scheduler does, checking each step. */
function applyAll(world: ConvergenceWorld): ActualInstance[] {
  const actions = planConvergence(world)
  const rows = new Map(world.actual.map((each) => [instanceKeyText(each), each]))
  const order = ['remove', 'change-presence', 'create', 'unclaim', 'stop'] as const
  for (const kind of order)
    for (const action of actions.filter((each) => each.kind === kind)) {
      if (action.kind === 'create') {
        const created = row({ ...keyOf(action.process), index: action.index, state: 'unclaimed' })
        expect(rows.has(instanceKeyText(created))).toBe(false)
        rows.set(instanceKeyText(created), created)
        continue
      }
      const key = instanceKeyText(action.row)
      expect(rows.has(key)).toBe(true)
      rows.delete(key)
      const next = applied(action)
      if (!next) continue
      expect(rows.has(instanceKeyText(next))).toBe(false)
      expect(next.state === action.row.state || allowsTransition(action.row.state, next.state)).toBe(true)
      rows.set(instanceKeyText(next), next)
    }
  return [...rows.values()]
}

const keyOf = ({ guid, specVersion, specGuid }: DesiredProcess) => ({ processGuid: guid, specVersion, specGuid })

function applied(action: Exclude<ConvergenceAction, { kind: 'create' }>): ActualInstance | undefined {
  switch (action.kind) {
    case 'remove':
      return undefined
    case 'change-presence':
      return { ...action.row, presence: action.to }
    case 'unclaim':
      return { ...action.row, state: 'unclaimed', cellId: null, instanceGuid: null, stopPhase: null, routable: false }
    case 'stop':
      return { ...action.row, state: 'stopping', stopPhase: 'unroute', stopReason: action.reason }
  }
}

/** Worlds that the scheduler can come to see: keys are unique, copies on other cells run or stop. */
function anyWorld(): fc.Arbitrary<ConvergenceWorld> {
  const anyRow = fc
    .record({
      processGuid: fc.constantFrom('p', 'q', 'gone'),
      specVersion: fc.constantFrom(1, 2),
      index: fc.integer({ min: 0, max: 4 }),
      presence: fc.constantFrom('ordinary' as const, 'suspect' as const, 'evacuating' as const),
      state: fc.constantFrom(
        'unclaimed' as const,
        'claimed' as const,
        'running' as const,
        'crashed' as const,
        'stopping' as const,
      ),
      cellId: fc.constantFrom('a', 'b', 'c', 'unheard-of'),
      routable: fc.boolean(),
      crashCount: fc.integer({ min: 0, max: 20 }),
      crashedAgoMs: fc.integer({ min: 0, max: 2_000_000 }),
      stopPhase: fc.constantFrom(null, 'unroute' as const, 'term' as const),
    })
    .map(({ crashedAgoMs, ...picked }) => {
      const state = picked.presence === 'ordinary' || picked.state === 'stopping' ? picked.state : ('running' as const)
      const onCell = state === 'claimed' || state === 'running' || state === 'stopping'
      return row({
        ...picked,
        state,
        specGuid: `${picked.processGuid}-${picked.specVersion}`,
        cellId: onCell ? picked.cellId : null,
        instanceGuid: onCell ? 'i' : null,
        stopPhase: state === 'stopping' ? picked.stopPhase : null,
        crashedAt: ago(crashedAgoMs),
      })
    })
  return fc.record({
    desired: fc.tuple(fc.integer({ min: 0, max: 4 }), fc.integer({ min: 0, max: 4 })).map(([p, q]) => [
      { guid: 'p', specGuid: 'p-2', specVersion: 2, instances: p },
      { guid: 'q', specGuid: 'q-1', specVersion: 1, instances: q },
    ]),
    actual: fc.uniqueArray(anyRow, { selector: instanceKeyText, maxLength: 14 }),
    cells: fc
      .record({
        present: fc.subarray(['a', 'b', 'c']),
        draining: fc.subarray(['a', 'b', 'c']),
        hold: fc.constantFrom(undefined, undefined, 'silence'),
      })
      .map(({ present, draining: drained, hold }) => ({
        present: new Set(present),
        draining: new Set(drained.filter((id) => present.includes(id))),
        hold: present.length === 0 ? 'no cell answers' : hold,
      })),
    now: fc.constant(now),
  })
}

describe('viewCells', () => {
  const cell = (id: string, silentMs: number, isDraining = false) => ({ id, lastSeenAt: ago(silentMs), draining: isDraining })
  it.each<[string, ReturnType<typeof cell>[], string[], boolean]>([
    ['all answer', [cell('a', 0), cell('b', 14_000)], ['a', 'b'], false],
    ['one of two is silent', [cell('a', 0), cell('b', 16_000)], ['a'], false],
    ['one of three is silent', [cell('a', 0), cell('b', 0), cell('c', 20_000)], ['a', 'b'], false],
    ['two of three are silent', [cell('a', 0), cell('b', 20_000), cell('c', 20_000)], ['a'], true],
    ['two of three, five minutes later', [cell('a', 0), cell('b', 301_000), cell('c', 301_000)], ['a'], false],
    ['two of four are silent', [cell('a', 0), cell('b', 0), cell('c', 20_000), cell('d', 20_000)], ['a', 'b'], true],
    ['the only one is silent', [cell('a', 900_000)], [], true],
    ['one was given up long ago', [cell('a', 0), cell('b', 9e9), cell('c', 9e9)], ['a'], false],
  ])('%s', (_name, given, present, held) => {
    const view = viewCells(given, now)
    expect([...view.present]).toEqual(present)
    expect(view.hold !== undefined).toBe(held)
  })
})
