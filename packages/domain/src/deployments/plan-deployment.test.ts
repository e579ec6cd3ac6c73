import fc from 'fast-check'
import { planDeployment, type DeployingInstance, type DeploymentWorld } from './plan-deployment.js'

const now = new Date('2026-01-01T00:00:00Z')
const ago = (ms: number): Date => new Date(now.getTime() - ms)
const instance = (index: number, over: Partial<DeployingInstance> = {}): DeployingInstance => ({
  index,
  state: 'running',
  stateSince: ago(60_000),
  routable: true,
  crashCount: 0,
  crashReason: null,
  placementError: null,
  ...over,
})
const world = (over: Partial<DeploymentWorld> = {}): DeploymentWorld => ({
  statusReason: 'DEPLOYING',
  targetInstances: 2,
  originalInstances: 2,
  maxInFlight: 1,
  isChecked: true,
  lastHealthyAt: ago(1000),
  lastStatusChangeAt: ago(1000),
  appStarted: true,
  newProcess: { guid: 'new', instances: 0 },
  oldProcesses: [{ guid: 'old', instances: 2, running: 2 }],
  instances: [],
  now,
  ...over,
})
const grown = (instances: number) => ({ guid: 'new', instances })

describe('planDeployment', () => {
  it.each<[string, DeploymentWorld, object]>([
    ['begins with one new instance', world(), { kind: 'scale', scales: [{ processGuid: 'new', instances: 1 }], healthy: true }],
    [
      'waits while it starts',
      world({ newProcess: grown(1), instances: [instance(0, { state: 'claimed' })] }),
      { kind: 'scale', scales: [], healthy: false },
    ],
    [
      'waits while it runs but is not ready',
      world({ newProcess: grown(1), instances: [instance(0, { routable: false })] }),
      { scales: [] },
    ],
    [
      'goes down by what serves and up by one',
      world({ newProcess: grown(1), instances: [instance(0)] }),
      {
        scales: [
          { processGuid: 'old', instances: 1 },
          { processGuid: 'new', instances: 2 },
        ],
      },
    ],
    [
      'does not believe a program at once that nothing checks',
      world({ isChecked: false, newProcess: grown(1), instances: [instance(0, { stateSince: ago(2_000) })] }),
      { kind: 'scale', scales: [], healthy: false },
    ],
    [
      'believes it once it has run for a while',
      world({ isChecked: false, newProcess: grown(1), instances: [instance(0, { stateSince: ago(3_000) })] }),
      {
        scales: [
          { processGuid: 'old', instances: 1 },
          { processGuid: 'new', instances: 2 },
        ],
      },
    ],
    [
      'does not believe one that has crashed before',
      world({ newProcess: grown(1), instances: [instance(0, { stateSince: ago(9_000), crashCount: 1 })] }),
      { scales: [], detail: expect.stringContaining('crashed') as unknown },
    ],
    ['ends when all serve', world({ newProcess: grown(2), instances: [instance(0), instance(1)] }), { kind: 'finish' }],
    ['ends at once for an app without instances', world({ targetInstances: 0, originalInstances: 0 }), { kind: 'finish' }],
    ['starts several at once where asked to', world({ maxInFlight: 5 }), { scales: [{ processGuid: 'new', instances: 2 }] }],
    [
      'tells of a crash and keeps the old version',
      world({
        newProcess: grown(1),
        instances: [instance(0, { state: 'crashed', crashCount: 3, crashReason: 'Exited with status 1' })],
      }),
      {
        kind: 'scale',
        scales: [],
        detail: expect.stringMatching(/crashed \(Exited with status 1\), 3 times.*old version keeps serving/) as unknown,
      },
    ],
    [
      'tells of a lack of room',
      world({
        newProcess: grown(1),
        instances: [instance(0, { state: 'unclaimed', placementError: 'insufficient resources: memory' })],
      }),
      { detail: expect.stringContaining('insufficient resources: memory') as unknown },
    ],
    [
      'gives up after four minutes without progress',
      world({ newProcess: grown(1), instances: [instance(0, { state: 'claimed' })], lastHealthyAt: ago(241_000) }),
      { kind: 'begin-cancel' },
    ],
    ['turns back when the app is stopped', world({ appStarted: false }), { kind: 'begin-cancel' }],
    ['ends when its process is deleted', world({ newProcess: undefined }), { kind: 'finish-cancel', keepProcessGuid: 'old' }],
    [
      'drops what an earlier deployment left half done before what serves',
      world({
        newProcess: grown(1),
        instances: [instance(0)],
        oldProcesses: [
          { guid: 'old', instances: 2, running: 2 },
          { guid: 'interim', instances: 1, running: 0 },
        ],
      }),
      {
        scales: [
          { processGuid: 'interim', instances: 0 },
          { processGuid: 'old', instances: 1 },
          { processGuid: 'new', instances: 2 },
        ],
      },
    ],
    [
      'on cancel scales the old version up first',
      world({
        statusReason: 'CANCELING',
        newProcess: grown(1),
        instances: [instance(0)],
        oldProcesses: [{ guid: 'old', instances: 1, running: 1 }],
      }),
      { kind: 'scale', scales: [{ processGuid: 'old', instances: 2 }] },
    ],
    [
      'keeps the new one until the old is back',
      world({
        statusReason: 'CANCELING',
        newProcess: grown(1),
        instances: [instance(0)],
        oldProcesses: [{ guid: 'old', instances: 2, running: 1 }],
      }),
      { kind: 'scale', scales: [] },
    ],
    [
      'then lets it go',
      world({ statusReason: 'CANCELING', newProcess: grown(1), instances: [instance(0)] }),
      { kind: 'finish-cancel', keepProcessGuid: 'old' },
    ],
  ])('%s', (_name, input, expected) => {
    expect(planDeployment(input)).toMatchObject(expected)
  })

  it('never lets fewer serve than the target, and always ends, whatever the sizes', () =>
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 12 }),
        fc.integer({ min: 1, max: 15 }),
        fc.integer({ min: 0, max: 12 }),
        (target, maxInFlight, original) => {
          let old = original
          let fresh = 0
          for (let step = 0; step < 60; step++) {
            const plan = planDeployment(
              world({
                targetInstances: target,
                originalInstances: original,
                maxInFlight,
                newProcess: grown(fresh),
                oldProcesses: [{ guid: 'old', instances: old, running: old }],
                instances: Array.from({ length: fresh }, (_, index) => instance(index)),
              }),
            )
            if (plan?.kind === 'finish') return
            expect(plan?.kind).toBe('scale')
            const serving = fresh
            for (const { processGuid, instances } of plan?.kind === 'scale' ? plan.scales : []) {
              if (processGuid === 'old') old = instances
              else {
                expect(instances - serving).toBeLessThanOrEqual(maxInFlight)
                fresh = instances
              }
            }
            expect(old + serving).toBeGreaterThanOrEqual(Math.min(original, target))
          }
          throw new Error('did not end')
        },
      ),
    ))
})
