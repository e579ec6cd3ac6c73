import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import {
  catalogConflicts,
  deactivationWarning,
  planCatalogChanges,
  type CatalogOffering,
  type KnownOffering,
} from './catalog-sync.js'
import { mayStart, type PendingOperation } from './concurrent-operations.js'
import {
  isUpgradeAvailable,
  planInstanceUpdate,
  type UpdatableInstance,
  type UpdatablePlan,
  type WantedUpdate,
} from './instance-update.js'
import {
  afterAnswer,
  afterDeadline,
  afterLostUpdate,
  afterPoll,
  type LostUpdate,
  type NextStep,
  type PollResult,
  type RequestOutcome,
  type ServiceRequest,
  type ShownInstance,
} from './operation-steps.js'
import { MITIGATION_RETRIES, nextMitigationAt } from './orphan-mitigation.js'
import { isPlanUsableIn, type PlanVisibility } from './plan-visibility.js'
import { nextPollAt, pollingDeadline, type PollingRules } from './polling.js'

const RULES: PollingRules = { intervalSeconds: 2, backoffRate: 1.5, maxIntervalSeconds: 60, maxDurationSeconds: 7 * 86_400 }
const START = new Date('2026-01-01T00:00:00Z')
const after = (seconds: number): Date => new Date(START.getTime() + seconds * 1000)

describe('polling', () => {
  it.each<[string, Parameters<typeof nextPollAt>[0], number | undefined]>([
    ['begins with the interval', { polls: 0, startedAt: START, now: START }, 2],
    ['grows', { polls: 2, startedAt: START, now: START }, 4.5],
    ['grows up to a limit', { polls: 50, startedAt: START, now: START }, 60],
    ['waits longer where asked to', { polls: 0, retryAfterSeconds: 30, startedAt: START, now: START }, 30],
    ['waits no shorter than it would', { polls: 0, retryAfterSeconds: 1, startedAt: START, now: START }, 2],
    ['waits a day at most', { polls: 0, retryAfterSeconds: 1e9, startedAt: START, now: START }, 86_400],
    [
      'ends before the poll that would be too late',
      { polls: 0, startedAt: START, now: after(9), maximumPollingSeconds: 10 },
      undefined,
    ],
    ['asks once more at the deadline', { polls: 20, startedAt: START, now: after(5), maximumPollingSeconds: 10 }, 5],
    ['takes no duration for none', { polls: 0, startedAt: START, now: START, maximumPollingSeconds: 0 }, 2],
  ])('%s', (_name, situation, seconds) => {
    const at = nextPollAt(situation, RULES)
    expect(at && (at.getTime() - situation.now.getTime()) / 1000).toBe(seconds)
  })
  it('never polls before the interval nor after the deadline, whatever is asked', () =>
    fc.assert(
      fc.property(
        fc.nat(1000),
        fc.option(fc.integer({ min: -5, max: 1e9 }), { nil: undefined }),
        fc.nat(1e6),
        fc.option(fc.integer({ min: 1, max: 1e7 }), { nil: undefined }),
        (polls, retryAfterSeconds, elapsed, maximumPollingSeconds) => {
          const situation = { polls, retryAfterSeconds, startedAt: START, now: after(elapsed), maximumPollingSeconds }
          const at = nextPollAt(situation, RULES)
          if (at === undefined) return
          expect(at.getTime()).toBeGreaterThanOrEqual(situation.now.getTime() + 2000)
          expect(at.getTime()).toBeLessThanOrEqual(pollingDeadline(situation, RULES).getTime())
        },
      ),
    ))
})

describe('steps of an operation', () => {
  const failed = (reason: string, orphan = false): RequestOutcome => ({ kind: 'failed', reason, orphan })
  it.each<[ServiceRequest, RequestOutcome, boolean, NextStep]>([
    ['provision', { kind: 'done' }, false, 'complete'],
    ['bind', { kind: 'in progress' }, false, 'poll'],
    ['provision', failed('rejected'), false, 'fail'],
    ['provision', failed('timeout', true), false, 'fail and mitigate'],
    ['provision', failed('conflict'), false, 'fail'],
    ['provision', failed('conflict'), true, 'fail and mitigate'],
    ['update', failed('concurrency'), false, 'fail'],
    ['update', failed('concurrency'), true, 'poll'],
    ['deprovision', failed('concurrency'), true, 'poll'],
    ['deprovision', failed('conflict'), true, 'fail'],
  ])('%s after %j, sent before: %s → %s', (request, outcome, before, step) =>
    expect(afterAnswer(request, outcome, before)).toBe(step),
  )

  const REQUESTS: ServiceRequest[] = ['provision', 'update', 'deprovision', 'bind', 'unbind']
  it.each<[PollResult, NextStep[]]>([
    [{ kind: 'state', state: 'in progress' }, ['poll', 'poll', 'poll', 'poll', 'poll']],
    [{ kind: 'state', state: 'succeeded' }, ['complete', 'complete', 'complete', 'complete', 'complete']],
    [{ kind: 'state', state: 'failed' }, ['fail and mitigate', 'fail', 'fail', 'fail and mitigate', 'fail']],
    [{ kind: 'gone' }, ['poll', 'poll', 'complete', 'poll', 'complete']],
    [{ kind: 'unknown' }, ['poll', 'poll', 'poll', 'poll', 'poll']],
  ])('a poll of %j', (result, steps) => expect(REQUESTS.map((request) => afterPoll(request, result))).toEqual(steps))
  it('leaves nothing behind after the deadline', () =>
    expect(REQUESTS.map(afterDeadline)).toEqual(['fail and mitigate', 'fail', 'fail', 'fail and mitigate', 'fail']))
})

describe('an update whose answer was lost', () => {
  const moved: LostUpdate = { planBefore: 'small', planAfter: 'large' }
  const shown = (planId?: string, parameters?: Record<string, unknown>): ShownInstance => ({ kind: 'shown', planId, parameters })
  it.each<[string, LostUpdate, ShownInstance, ReturnType<typeof afterLostUpdate>]>([
    ['went through where the plan is the new one', moved, shown('large'), 'complete'],
    ['did not where it is the former one', moved, shown('small'), 'ask again'],
    ['is unknown where none is shown', moved, shown(), 'ask again'],
    ['is unknown where nothing is shown', moved, { kind: 'hidden' }, 'ask again'],
    ['is under way where the broker says so', moved, { kind: 'updating' }, 'poll'],
    [
      'went through with its parameters',
      { ...moved, parameters: { a: [1, { b: 2 }] } },
      shown('large', { a: [1, { b: 2 }], c: 3 }),
      'complete',
    ],
    ['did not without them', { ...moved, parameters: { a: [1] } }, shown('large', { a: { 0: 1 } }), 'ask again'],
    [
      'is not proved by parameters alone',
      { planBefore: 'small', planAfter: 'small', parameters: { a: 1 } },
      shown('small', { a: 1 }),
      'ask again',
    ],
    ['is not proved by what it did not ask for', { planBefore: 'small', planAfter: undefined }, shown('small'), 'ask again'],
  ])('%s', (_name, sent, seen, expected) => {
    expect(afterLostUpdate(sent, seen)).toBe(expected)
  })
})

describe('orphan mitigation', () => {
  it('tries again after 2, 4, 8 … minutes, ten times, within 35 hours', () => {
    let now = START
    let tries = 1
    for (let at = nextMitigationAt(tries, now); at; at = nextMitigationAt(tries, now)) {
      expect(at.getTime() - now.getTime()).toBe(2 ** tries * 60_000)
      now = at
      tries++
    }
    expect(tries).toBe(MITIGATION_RETRIES + 1)
    expect((now.getTime() - START.getTime()) / 3_600_000).toBeCloseTo(34.1, 1)
  })
})

describe('operations at the same time', () => {
  const [create, accepted, update]: PendingOperation[] = [
    { type: 'create', accepted: false },
    { type: 'create', accepted: true },
    { type: 'update', accepted: true },
  ]
  it.each<[Parameters<typeof mayStart>[0], (PendingOperation | undefined)[], boolean]>([
    ['update', [], true],
    ['update', [accepted], false],
    ['delete', [], true],
    ['delete', [create], false],
    ['delete', [accepted], true],
    ['delete', [update], false],
    ['delete', [accepted, { type: 'delete', accepted: false }], false],
  ])('%s while %j: %s', (wanted, pending, may) =>
    expect(
      mayStart(
        wanted,
        pending.flatMap((each) => each ?? []),
      ),
    ).toBe(may),
  )
})

describe('plan visibility', () => {
  const space = { guid: 's1', organizationGuid: 'o1' }
  it.each<[PlanVisibility, string[], string | undefined, boolean]>([
    ['public', [], undefined, true],
    ['admin', ['o1'], undefined, false],
    ['organization', ['o1'], undefined, true],
    ['organization', ['o2'], undefined, false],
    ['space', [], 's1', true],
    ['space', [], 's2', false],
  ])('%s for %j, broker in %s: %s', (visibility, organizations, brokerSpaceGuid, usable) =>
    expect(isPlanUsableIn({ visibility, organizationGuids: new Set(organizations), brokerSpaceGuid }, space)).toBe(usable),
  )
})

describe('an update of an instance', () => {
  const plan = (change: Partial<UpdatablePlan> = {}): UpdatablePlan => ({
    guid: 'p1',
    active: true,
    bindable: true,
    planUpdateable: true,
    allowContextUpdates: false,
    maintenanceVersion: '2.0.0',
    ...change,
  })
  const instance = (change: Partial<UpdatableInstance> = {}): UpdatableInstance => ({
    name: 'db',
    createFailed: false,
    shared: false,
    bound: false,
    plan: plan(),
    maintenanceVersion: '1.0.0',
    ...change,
  })
  const other = plan({ guid: 'p2', maintenanceVersion: '3.0.0' })
  const refused = (why: string) => ({ kind: 'refused', why })
  it.each<[string, UpdatableInstance, Partial<WantedUpdate>, unknown]>([
    ['a name stays here', instance(), { name: 'new' }, { kind: 'local' }],
    [
      'a name goes to a broker that wants it',
      instance({ plan: plan({ allowContextUpdates: true }) }),
      { name: 'new' },
      { kind: 'broker', planGuid: 'p1' },
    ],
    [
      'parameters go to the broker',
      instance({ plan: plan({ planUpdateable: false }) }),
      { hasParameters: true },
      { kind: 'broker', planGuid: 'p1' },
    ],
    [
      'another plan brings its version',
      instance(),
      { plan: other },
      { kind: 'broker', planGuid: 'p2', maintenanceVersion: '3.0.0' },
    ],
    ['the same plan is no change', instance(), { plan: plan() }, { kind: 'local' }],
    [
      'an upgrade names the version',
      instance(),
      { maintenanceVersion: '2.0.0' },
      { kind: 'broker', maintenanceVersion: '2.0.0' },
    ],
    ['the version that is there is no upgrade', instance(), { maintenanceVersion: '1.0.0' }, { kind: 'local' }],
    ['not what was never created', instance({ createFailed: true }), { name: 'new' }, refused('instance-not-created')],
    ['no new name for what is shared', instance({ shared: true }), { name: 'new' }, refused('shared-not-renamable')],
    [
      'no plan change where there is none',
      instance({ plan: plan({ planUpdateable: false }) }),
      { plan: other },
      refused('plan-not-updateable'),
    ],
    [
      'no plan without bindings while there are some',
      instance({ bound: true }),
      { plan: plan({ guid: 'p2', bindable: false }) },
      refused('not-bindable'),
    ],
    [
      'no upgrade together with a plan change',
      instance(),
      { plan: other, maintenanceVersion: '3.0.0' },
      refused('maintenance-with-plan-change'),
    ],
    [
      'no upgrade without versions',
      instance({ plan: plan({ maintenanceVersion: undefined }) }),
      { maintenanceVersion: '2.0.0' },
      refused('maintenance-not-supported'),
    ],
    ['no unknown version', instance(), { maintenanceVersion: '9.0.0' }, refused('maintenance-version-unknown')],
    [
      'no parameters on a plan that is gone',
      instance({ plan: plan({ active: false }) }),
      { hasParameters: true },
      refused('inaccessible-plan-parameters'),
    ],
    [
      'no upgrade on a plan that is gone',
      instance({ plan: plan({ active: false }) }),
      { maintenanceVersion: '2.0.0' },
      refused('inaccessible-plan-maintenance'),
    ],
    ['a name on a plan that is gone stays here', instance({ plan: plan({ active: false }) }), { name: 'new' }, { kind: 'local' }],
  ])('%s', (_name, present, wanted, expected) =>
    expect(planInstanceUpdate(present, { hasParameters: false, ...wanted })).toMatchObject(expected as object),
  )
  it.each([
    ['1.0.0', '1.0.0', false],
    ['1.0.0', '2.0.0', true],
    [undefined, '1.0.0', true],
    ['1.0.0', undefined, false],
  ])('an instance at %s of a plan at %s: upgrade %s', (present, planVersion, expected) =>
    expect(isUpgradeAvailable(present, planVersion)).toBe(expected),
  )
})

describe('a catalog against the one that is kept', () => {
  const known = (id: string, name: string, plans: [string, string, boolean][]): KnownOffering => ({
    guid: `g-${id}`,
    catalogId: id,
    name,
    plans: plans.map(([planId, planName, hasInstances]) => ({
      guid: `g-${planId}`,
      catalogId: planId,
      name: planName,
      hasInstances,
    })),
  })
  const offered = (id: string, name: string, plans: [string, string][]): CatalogOffering => ({
    id,
    name,
    plans: plans.map(([planId, planName]) => ({ id: planId, name: planName })),
  })
  it('updates by id, adds, deletes what is unused and keeps what is used', () => {
    const before = [
      known('s1', 'db', [
        ['p1', 'a', false],
        ['p2', 'b', true],
        ['p3', 'c', false],
      ]),
      known('s2', 'old', [['p4', 'd', true]]),
      known('s3', 'unused', [['p5', 'e', false]]),
    ]
    const changes = planCatalogChanges(before, [offered('s1', 'renamed', [['p1', 'x']]), offered('s9', 'new', [['p9', 'n']])])
    expect(changes).toEqual({
      offerings: [
        { id: 's1', guid: 'g-s1', plans: [{ id: 'p1', guid: 'g-p1' }] },
        { id: 's9', guid: undefined, plans: [{ id: 'p9', guid: undefined }] },
      ],
      deactivatedOfferings: ['g-s2'],
      deletedOfferings: ['g-s3'],
      deactivatedPlans: ['g-p2', 'g-p4'],
      deletedPlans: ['g-p3'],
      deactivated: [
        { offering: 'db', plans: ['b'] },
        { offering: 'old', plans: ['d'] },
      ],
    })
    expect(deactivationWarning('http://b/v2/catalog', changes.deactivated)).toContain(
      'Service Offering: db\nPlans deactivated: b',
    )
    expect(deactivationWarning('http://b/v2/catalog', [])).toBeUndefined()
  })
  it('sees names and plan ids that still belong to others', () => {
    const used = known('s1', 'db', [['p1', 'a', true]])
    expect(catalogConflicts([used], [offered('s2', 'db', [['p2', 'a']])])[0]).toContain(
      'Services with names ["db"] already exist',
    )
    expect(catalogConflicts([used], [offered('s2', 'x', [['p1', 'a']])])[0]).toContain(
      "because it uses the same id as an existing plan (plan name 'a', service name 'db')",
    )
    expect(catalogConflicts([known('s1', 'db', [['p1', 'a', false]])], [offered('s2', 'db', [['p2', 'a']])])).toEqual([])
    expect(catalogConflicts([used], [offered('s1', 'other', [['p1', 'a']]), offered('s2', 'db', [['p2', 'a']])])).toEqual([])
  })
  it('never deletes what has instances, and is done after one pass', () =>
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.tuple(fc.nat(5), fc.nat(9), fc.boolean()), { selector: ([, plan]) => plan }),
        fc.uniqueArray(fc.tuple(fc.nat(5), fc.nat(9)), { selector: ([, plan]) => plan }),
        (kept, fresh) => {
          const group = <T extends [number, ...unknown[]]>(rows: T[]) =>
            [...new Set(rows.map(([service]) => service))].map((service) => rows.filter(([each]) => each === service))
          const before = group(kept).map((rows) =>
            known(
              `s${rows[0]?.[0]}`,
              `n${rows[0]?.[0]}`,
              rows.map(([, plan, used]) => [`p${plan}`, `n${plan}`, used]),
            ),
          )
          const catalog = group(fresh).map((rows) =>
            offered(
              `s${rows[0]?.[0]}`,
              `n${rows[0]?.[0]}`,
              rows.map(([, plan]) => [`p${plan}`, `n${plan}`]),
            ),
          )
          const changes = planCatalogChanges(before, catalog)
          const used = new Set(before.flatMap(({ plans }) => plans.filter((plan) => plan.hasInstances).map(({ guid }) => guid)))
          expect(changes.deletedPlans.filter((guid) => used.has(guid))).toEqual([])
          const deleted = new Set(
            before
              .filter(({ guid }) => changes.deletedOfferings.includes(guid))
              .flatMap(({ plans }) => plans.map(({ guid }) => guid)),
          )
          for (const guid of used) expect(deleted.has(guid)).toBe(false)
        },
      ),
    ))
})
