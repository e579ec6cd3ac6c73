import type { ActualInstance } from '../instances/instance.js'
import { reconcileReport, type ReportedInstance } from './reconcile-report.js'

const row = (over: Partial<ActualInstance> = {}): ActualInstance => ({
  processGuid: 'p',
  specVersion: 1,
  specGuid: 's',
  index: 0,
  presence: 'ordinary',
  instanceGuid: 'i',
  cellId: 'c',
  state: 'running',
  stateSince: new Date(0),
  crashCount: 0,
  crashedAt: null,
  placementError: null,
  routable: true,
  stopPhase: null,
  stopReason: null,
  stopSince: null,
  ...over,
})
const seen = (over: Partial<ReportedInstance> = {}): ReportedInstance => ({
  instanceGuid: 'i',
  processGuid: 'p',
  specVersion: 1,
  index: 0,
  state: 'running',
  routable: true,
  ...over,
})
const kinds = (
  rows: ActualInstance[],
  reported: ReportedInstance[],
  over: { applied?: Record<string, 'run' | 'stop'>; wanted?: boolean } = {},
) =>
  reconcileReport({
    cellId: 'c',
    rows,
    seen: reported,
    applied: over.applied ? new Map(Object.entries(over.applied)) : undefined,
    isWanted: () => over.wanted ?? true,
  }).map(({ kind }) => kind)

describe('reconcileReport', () => {
  it.each<[string, string[], string[]]>([
    ['a start that succeeded', kinds([row({ state: 'claimed' })], [seen()]), ['running']],
    ['a start under way', kinds([row({ state: 'claimed' })], [seen({ state: 'starting' })]), []],
    ['a start anew of what ran', kinds([row()], [seen({ state: 'starting', routable: false })]), ['starting-again']],
    ['a crash', kinds([row()], [seen({ state: 'crashed' })]), ['crashed']],
    [
      "the platform's fault",
      kinds([row({ state: 'claimed' })], [seen({ state: 'crashed', platformFault: true })]),
      ['start-failed'],
    ],
    ['an exit while stopping is no crash', kinds([row({ state: 'stopping' })], [seen({ state: 'crashed' })]), ['stopped']],
    ['a stop that is done', kinds([row({ state: 'stopping' })], [], { applied: { i: 'stop' } }), ['stopped']],
    ['a stop that the cell has not heard of', kinds([row({ state: 'stopping' })], [], { applied: {} }), []],
    ['an instance that vanished', kinds([row()], [], { applied: { i: 'run' } }), ['lost']],
    ['an instance that the cell has not heard of', kinds([row({ state: 'claimed' })], [], { applied: {} }), []],
    ['a report on an unknown wish', kinds([row()], []), []],
    ['an instance without a row', kinds([], [seen()]), ['adopt']],
    ['an unwanted one without a row', kinds([], [seen()], { wanted: false }), []],
    [
      'one whose row waits for a place',
      kinds([row({ cellId: null, instanceGuid: null, state: 'unclaimed' })], [seen()]),
      ['adopt'],
    ],
    ['one whose row is elsewhere', kinds([row({ cellId: 'd', instanceGuid: 'other' })], [seen()]), []],
    [
      "a cell's own restart",
      kinds([row()], [seen({ instanceGuid: 'j', restartedLocally: true })], { applied: { i: 'run' } }),
      ['restarted-locally'],
    ],
    [
      'two claims to one row',
      kinds([row({ cellId: null, instanceGuid: null, state: 'crashed' })], [seen(), seen({ instanceGuid: 'j' })]),
      ['adopt'],
    ],
  ])('%s', (_name, actual, expected) => {
    expect(actual).toEqual(expected)
  })
})
