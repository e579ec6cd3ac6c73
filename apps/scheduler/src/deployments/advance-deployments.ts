import { execute, rows, sql, type Lease, type Pool, type PoolClient } from '@bloomery/database/sql'
import { isRoutable, planDeployment, type DeploymentStep } from '@bloomery/domain'
import type { Clock } from '../clock.js'
import { guarded } from '../leadership/guarded.js'
import type { Effects } from '../loops/effects.js'
import { recordDecisions } from '../state/decision-records.js'
import type { Snapshot } from '../state/read-state.js'

/** A deployment under way, with its app and the rows of its process type. */
export interface DeploymentRow {
  readonly guid: string
  readonly appGuid: string
  readonly statusReason: string
  readonly detail: string | null
  readonly lastStatusChangeAt: Date
  readonly lastHealthyAt: Date
  readonly dropletGuid: string | null
  readonly previousDropletGuid: string | null
  readonly newProcessGuid: string | null
  readonly maxInFlight: number | null
  readonly webInstances: number | null
  readonly originalInstances: number
  readonly appState: string
  /** Rows of the new process's type, oldest first; `web` where that one is gone. */
  readonly processes: readonly {
    readonly guid: string
    readonly type: string
    readonly instances: number
    readonly check: string | null
  }[]
}

export const listDeployments = (pool: Pool): Promise<DeploymentRow[]> =>
  rows<DeploymentRow>(
    pool,
    sql`SELECT d.guid, d.app_guid AS "appGuid", d.status_reason AS "statusReason", d.detail,
          d.last_status_change_at AS "lastStatusChangeAt", d.last_healthy_at AS "lastHealthyAt", d.droplet_guid AS "dropletGuid",
          d.previous_droplet_guid AS "previousDropletGuid", d.new_process_guid AS "newProcessGuid",
          CASE WHEN jsonb_typeof(d.options->'max_in_flight') = 'number' THEN (d.options->>'max_in_flight')::int END AS "maxInFlight",
          CASE WHEN jsonb_typeof(d.options->'web_instances') = 'number' THEN (d.options->>'web_instances')::int END AS "webInstances",
          d.original_instances AS "originalInstances", a.state AS "appState",
          coalesce((SELECT jsonb_agg(jsonb_build_object('guid', p.guid, 'type', p.type, 'instances', p.instances, 'check', p.health_check->>'type')
              ORDER BY p.created_at, p.deployment_guid NULLS FIRST)
            FROM processes p WHERE p.app_guid = d.app_guid
              AND p.type = coalesce((SELECT n.type FROM processes n WHERE n.guid = d.new_process_guid), 'web')), '[]'::jsonb) AS processes
        FROM deployments d JOIN apps a ON a.guid = d.app_guid
        WHERE d.status_value = 'ACTIVE' AND d.status_reason IN ('DEPLOYING', 'CANCELING') ORDER BY d.created_at, d.guid`,
  )

export interface DeploymentDeps {
  readonly pool: Pool
  readonly clock: Clock
  readonly lease: Lease
  readonly effects: Effects
}

/** One step of each deployment under way. Returns whether any changed what shall run. */
export async function advanceDeployments(deps: DeploymentDeps, snapshot: Snapshot): Promise<boolean> {
  let changed = false
  for (const deployment of await listDeployments(deps.pool)) {
    const step = planDeployment(worldOf(deployment, snapshot, deps.clock.now()))
    if (!step || isIdle(step, deployment)) continue
    changed = (await guarded(deps.pool, deps.lease, (on) => applyStep(on, deployment, step, deps))) || changed
  }
  return changed
}

const isIdle = (step: DeploymentStep, { detail }: DeploymentRow): boolean =>
  step.kind === 'scale' && step.scales.length === 0 && !step.healthy && (step.detail === detail || step.detail === null)

function worldOf(deployment: DeploymentRow, { desired, actual }: Snapshot, now: Date) {
  const specVersionOf = new Map(desired.map(({ guid, specVersion }) => [guid, specVersion]))
  const instancesOf = (processGuid: string) =>
    actual.filter(
      (row) =>
        row.processGuid === processGuid && row.presence === 'ordinary' && row.specVersion === specVersionOf.get(processGuid),
    )
  const servingOf = (processGuid: string) => actual.filter((row) => row.processGuid === processGuid && isRoutable(row)).length
  const { newProcessGuid, processes } = deployment
  const newProcess = processes.find(({ guid }) => guid === newProcessGuid)
  return {
    ...deployment,
    targetInstances: deployment.webInstances ?? deployment.originalInstances,
    maxInFlight: Math.max(deployment.maxInFlight ?? 1, 1),
    isChecked: newProcess?.check !== 'process',
    appStarted: deployment.appState === 'STARTED',
    newProcess,
    oldProcesses: processes
      .filter(({ guid }) => guid !== newProcessGuid)
      .map((process) => ({ ...process, running: servingOf(process.guid) })),
    instances: newProcess ? instancesOf(newProcess.guid) : [],
    now,
  }
}

/** False where the deployment has moved on since it was read. */
async function applyStep(
  on: PoolClient,
  deployment: DeploymentRow,
  step: DeploymentStep,
  deps: DeploymentDeps,
): Promise<boolean> {
  const { guid, statusReason } = deployment
  const still = await rows(
    on,
    sql`SELECT 1 FROM deployments WHERE guid = ${guid} AND status_value = 'ACTIVE' AND status_reason = ${statusReason} FOR UPDATE`,
  )
  if (still.length === 0) return false
  const now = deps.clock.now()
  switch (step.kind) {
    case 'scale':
      for (const { processGuid, instances } of step.scales) {
        await execute(on, sql`UPDATE processes SET instances = ${instances}, updated_at = now() WHERE guid = ${processGuid}`)
        deps.effects.changed('process', processGuid)
      }
      await execute(
        on,
        sql`UPDATE deployments SET detail = ${step.detail}, last_healthy_at = ${step.healthy ? now : deployment.lastHealthyAt},
              updated_at = now() WHERE guid = ${guid}`,
      )
      if (step.detail !== null && step.detail !== deployment.detail) await record(on, deployment, step.detail, {})
      break
    case 'finish':
      await finish(on, deployment)
      await conclude(on, deployment, { value: 'FINALIZED', reason: 'DEPLOYED', detail: null, now })
      break
    case 'begin-cancel':
      await conclude(on, deployment, { value: 'ACTIVE', reason: 'CANCELING', detail: step.detail, now })
      break
    case 'finish-cancel':
      await turnBack(on, deployment, step.keepProcessGuid)
      await conclude(on, deployment, { value: 'FINALIZED', reason: 'CANCELED', detail: step.detail ?? deployment.detail, now })
      break
  }
  deps.effects.changed('deployment', guid)
  return true
}

/**
 * As in CAPI the new row stays and the older ones go. The app's other processes change over to the spec that was written for
 * them together with the deployment.
 */
async function finish(on: PoolClient, { appGuid, newProcessGuid, dropletGuid, processes }: DeploymentRow): Promise<void> {
  const old = processes.map(({ guid }) => guid).filter((guid) => guid !== newProcessGuid)
  await execute(on, sql`DELETE FROM processes WHERE guid = ANY(${old})`)
  await execute(on, sql`UPDATE processes SET deployment_guid = NULL, updated_at = now() WHERE guid = ${newProcessGuid}`)
  await execute(
    on,
    sql`UPDATE processes p SET current_spec_guid = newest.guid, updated_at = now()
        FROM (SELECT DISTINCT ON (process_guid) process_guid, guid, droplet_guid FROM run_specs WHERE app_guid = ${appGuid}
              ORDER BY process_guid, version DESC) newest
        WHERE p.app_guid = ${appGuid} AND newest.process_guid = p.guid AND p.guid <> ${newProcessGuid}
          AND newest.droplet_guid = ${dropletGuid}
          AND p.current_spec_guid IS DISTINCT FROM newest.guid`,
  )
}

async function turnBack(on: PoolClient, deployment: DeploymentRow, keepProcessGuid: string | undefined): Promise<void> {
  const gone = deployment.processes.map(({ guid }) => guid).filter((guid) => guid !== keepProcessGuid)
  await execute(on, sql`DELETE FROM processes WHERE guid = ANY(${gone})`)
  await execute(on, sql`UPDATE processes SET deployment_guid = NULL, updated_at = now() WHERE guid = ${keepProcessGuid ?? null}`)
  await execute(
    on,
    sql`DELETE FROM run_specs s USING processes p WHERE p.app_guid = ${deployment.appGuid} AND s.process_guid = p.guid
          AND s.version > (SELECT c.version FROM run_specs c WHERE c.guid = p.current_spec_guid)`,
  )
  if (deployment.previousDropletGuid !== null)
    await execute(
      on,
      sql`UPDATE apps SET current_droplet_guid = ${deployment.previousDropletGuid}, updated_at = now()
          WHERE guid = ${deployment.appGuid} AND current_droplet_guid IS NOT DISTINCT FROM ${deployment.dropletGuid}
            AND EXISTS (SELECT 1 FROM droplets WHERE guid = ${deployment.previousDropletGuid})`,
    )
}

async function conclude(
  on: PoolClient,
  deployment: DeploymentRow,
  status: { readonly value: string; readonly reason: string; readonly detail: string | null; readonly now: Date },
): Promise<void> {
  await execute(
    on,
    sql`UPDATE deployments SET status_value = ${status.value}, status_reason = ${status.reason}, detail = ${status.detail},
          last_status_change_at = ${status.now}, updated_at = now() WHERE guid = ${deployment.guid}`,
  )
  await record(on, deployment, `Deployment ${status.reason}${status.detail === null ? '.' : `: ${status.detail}`}`, {
    from: deployment.statusReason,
  })
}

const record = (on: PoolClient, { guid, appGuid }: DeploymentRow, summary: string, detail: Readonly<Record<string, unknown>>) =>
  recordDecisions(on, [{ kind: 'deployment', subjectType: 'deployment', subjectGuid: guid, appGuid, summary, detail }])
