import type { CellReport, InstanceEndpoint, SeenInstance } from '@bloomery/contracts'
import { rows, sql, type PoolClient } from '@bloomery/database/sql'
import { crashOutcome, nextCrashCount, reconcileReport, type AppliedWish, type ReportAction } from '@bloomery/domain'
import { listDesired, listInstances } from '../state/read-state.js'
import { recordDecisions, type Decision } from '../state/decision-records.js'
import type { InstanceRow } from '../state/rows.js'
import { InstanceWrites } from '../state/write-instances.js'
import type { Effects } from '../loops/effects.js'
import { crashLogLines, recordCrash } from './crash-events.js'

export interface ReportContext {
  readonly on: PoolClient
  readonly cellId: string
  readonly leaseToken: bigint
  readonly now: Date
  readonly applied: AppliedWish
  readonly effects: Effects
}

type Action = ReportAction<InstanceRow, SeenInstance>

/** Brings the rows of one cell in line with what it reports. Returns whether anything changed. */
export async function applyReport(report: CellReport, context: ReportContext): Promise<boolean> {
  const { on, cellId, applied } = context
  const here = await listInstances(on, sql`cell_id = ${cellId} FOR UPDATE`)
  const known = new Set(here.map(({ instanceGuid }) => instanceGuid))
  const unknown = report.instances.filter(({ instanceGuid }) => !known.has(instanceGuid))
  const elsewhere = await listCopiesElsewhere(on, cellId, unknown)
  const wanted = await listWanted(on, unknown)
  const actions = reconcileReport<InstanceRow, SeenInstance>({
    cellId,
    rows: [...here, ...elsewhere],
    seen: report.instances,
    applied,
    isWanted: ({ processGuid, specVersion, index }) => index < (wanted.get(`${processGuid}/${specVersion}`) ?? 0),
  })
  const changes = actions.filter(changesSomething)
  const decisions: Decision[] = []
  for (const action of changes) decisions.push(...(await applyAction(action, context)))
  await recordDecisions(on, decisions)
  return changes.length > 0
}

async function listCopiesElsewhere(on: PoolClient, cellId: string, unknown: readonly SeenInstance[]): Promise<InstanceRow[]> {
  if (unknown.length === 0) return []
  const keys = unknown.map(({ processGuid, specVersion, index }) => ({ processGuid, specVersion, index }))
  return listInstances(
    on,
    sql`cell_id IS DISTINCT FROM ${cellId} AND (process_guid, spec_version, index) IN (SELECT x."processGuid", x."specVersion", x.index
        FROM jsonb_to_recordset(${JSON.stringify(keys)}::jsonb) AS x("processGuid" text, "specVersion" int, index int)) FOR UPDATE`,
  )
}

/** Wanted instances by process and spec version, of the processes of unknown instances. */
async function listWanted(on: PoolClient, unknown: readonly SeenInstance[]): Promise<ReadonlyMap<string, number>> {
  if (unknown.length === 0) return new Map()
  const desired = await listDesired(on, sql`p.guid = ANY(${unknown.map(({ processGuid }) => processGuid)})`)
  return new Map(desired.map(({ guid, specVersion, instances }) => [`${guid}/${specVersion}`, instances]))
}

/** A heartbeat repeats what is known; nothing is written for that. */
function changesSomething(action: Action): boolean {
  if (action.kind !== 'running') return true
  const { row, seen } = action
  return (
    row.state !== 'running' ||
    row.routable !== seen.routable ||
    endpointText(row.endpoint) !== endpointText(seen.endpoint ?? null)
  )
}

const endpointText = (endpoint: InstanceEndpoint | null): string =>
  endpoint === null
    ? ''
    : [endpoint.address, endpoint.hostAddress, ...endpoint.ports.map(({ internal, external }) => `${internal}:${external}`)].join(
        ' ',
      )

async function applyAction(action: Action, context: ReportContext): Promise<Decision[]> {
  const { on, leaseToken, now, effects } = context
  const write = new InstanceWrites(on, leaseToken, now)
  effects.changed('process', action.row?.processGuid ?? (action.kind === 'adopt' ? action.seen.processGuid : ''))
  switch (action.kind) {
    case 'running':
      await write.running(action.row, { routable: action.seen.routable, endpoint: action.seen.endpoint ?? null })
      return []
    case 'starting-again': {
      const detail = `Cell ${context.cellId} starts the instance again.`
      const place = { ...placeOf(action.seen, context.cellId), endpoint: null }
      if (action.row.presence === 'ordinary')
        await write.occupy(action.row, { ...place, crashCount: action.row.crashCount, detail })
      else await write.remove([action.row])
      return [
        decisionOn(action.row, 'restart', `Index ${action.row.index}: ${detail}`, { instanceGuid: action.seen.instanceGuid }),
      ]
    }
    case 'crashed':
      return applyCrash(action.row, action.seen, context, write)
    case 'start-failed': {
      const reason = action.seen.crashReason ?? 'The cell could not start the instance.'
      if (action.row.presence === 'ordinary') await write.startFailed(action.row, reason)
      else await write.remove([action.row])
      return [decisionOn(action.row, 'restart', `Could not start index ${action.row.index}: ${reason}`, { reason })]
    }
    case 'restarted-locally':
      return applyLocalRestart(action.row, action.seen, context, write)
    case 'adopt':
      return adopt(action.row, action.seen, context, write)
    case 'stopped': {
      const again = action.row.stopReason === 'restart' && action.row.presence === 'ordinary'
      if (again) await write.unclaim([{ ...action.row, detail: 'Restarted on request.' }])
      else await write.remove([action.row])
      return []
    }
    case 'lost': {
      const detail = `Cell ${context.cellId} no longer has the instance.`
      if (action.row.presence === 'ordinary') await write.unclaim([{ ...action.row, detail }])
      else await write.remove([action.row])
      return [decisionOn(action.row, 'restart', `Index ${action.row.index} is placed anew: ${detail}`, { reason: 'lost' })]
    }
  }
}

async function applyCrash(
  row: InstanceRow,
  seen: SeenInstance,
  context: ReportContext,
  write: InstanceWrites,
): Promise<Decision[]> {
  const { now } = context
  const crashCount = nextCrashCount({ ...row, wasRunning: row.state === 'running', now })
  const outcome = crashOutcome(crashCount)
  const crashReason = seen.crashReason ?? `APP/PROC/${row.processType.toUpperCase()}: Exited`
  if (row.presence === 'ordinary')
    await write.crashed(row, {
      state: outcome === 'restart' ? 'unclaimed' : 'crashed',
      crashCount,
      crashReason,
      detail: `Crashed ${crashCount} times: ${crashReason}`,
    })
  else await write.remove([row]) // its successor is on the way
  await tellOfCrash(row, seen, crashReason, crashCount, context)
  const next = { restart: 'restarts at once', wait: 'restarts after a pause', 'give-up': 'is not restarted any more' }[outcome]
  return [
    decisionOn(row, 'restart', `Index ${row.index} crashed (${crashReason}) and ${next}.`, {
      crashCount,
      outcome,
      crashReason,
      instanceGuid: row.instanceGuid,
    }),
  ]
}

async function tellOfCrash(
  row: InstanceRow,
  seen: SeenInstance,
  exitDescription: string,
  crashCount: number,
  { on, cellId, now, effects }: ReportContext,
): Promise<void> {
  const [process] = await rows<{ version: string }>(on, sql`SELECT version FROM processes WHERE guid = ${row.processGuid}`)
  const crash = {
    appGuid: row.appGuid,
    processGuid: row.processGuid,
    processType: row.processType,
    processVersion: process?.version ?? '',
    instanceGuid: row.instanceGuid ?? seen.instanceGuid,
    index: row.index,
    cellId,
    exitStatus: seen.exitStatus,
    exitDescription,
    crashCount,
    at: now,
  }
  await recordCrash(on, crash)
  for (const line of crashLogLines(crash)) effects.log(row.appGuid, line)
}

async function applyLocalRestart(
  row: InstanceRow,
  seen: SeenInstance,
  context: ReportContext,
  write: InstanceWrites,
): Promise<Decision[]> {
  const crashCount = nextCrashCount({ ...row, wasRunning: row.state === 'running', now: context.now })
  const detail = `Cell ${context.cellId} restarted the instance by itself while the scheduler was out of reach.`
  await write.occupy(row, { ...placeOf(seen, context.cellId), crashCount, detail })
  await tellOfCrash(row, seen, seen.crashReason ?? 'restarted by its cell', crashCount, context)
  return [decisionOn(row, 'restart', `Index ${row.index}: ${detail}`, { crashCount, instanceGuid: seen.instanceGuid })]
}

async function adopt(
  row: InstanceRow | undefined,
  seen: SeenInstance,
  context: ReportContext,
  write: InstanceWrites,
): Promise<Decision[]> {
  const detail = `Cell ${context.cellId} runs the instance already.`
  const place = placeOf(seen, context.cellId)
  if (row) await write.occupy(row, { ...place, crashCount: row.crashCount, detail })
  else
    await write.insertFound({
      ...place,
      processGuid: seen.processGuid,
      specVersion: seen.specVersion,
      index: seen.index,
      presence: 'ordinary',
      appGuid: seen.appGuid,
      processType: seen.processType,
      specGuid: seen.specGuid,
      memoryMb: seen.memoryMb,
      diskMb: seen.diskMb,
      detail,
    })
  return [
    decisionOn(seen, 'placement', `Adopted index ${seen.index}: ${detail}`, {
      cellId: context.cellId,
      instanceGuid: seen.instanceGuid,
    }),
  ]
}

const placeOf = (seen: SeenInstance, cellId: string) => ({
  cellId,
  instanceGuid: seen.instanceGuid,
  state: seen.state === 'running' ? ('running' as const) : ('claimed' as const),
  routable: seen.state === 'running' && seen.routable,
  endpoint: seen.endpoint ?? null,
})

const decisionOn = (
  subject: { readonly processGuid: string; readonly appGuid: string; readonly index: number },
  kind: Decision['kind'],
  summary: string,
  detail: Readonly<Record<string, unknown>>,
): Decision => ({
  kind,
  subjectType: 'process',
  subjectGuid: subject.processGuid,
  appGuid: subject.appGuid,
  summary,
  detail: { index: subject.index, ...detail },
})
