import { setTimeout as delay } from 'node:timers/promises'
import { execute, type Pool, sql } from '@bloomery/database/sql'
import type { Logger } from '@bloomery/telemetry'
import { findPlan } from '../catalog/catalog.js'
import { listInstances } from '../state/instances.js'
import { openOperations } from '../state/operations.js'
import type { InstanceRecord } from '../state/records.js'
import type { Engine } from './engine.js'

const LOOK_EVERY_MS = 30_000
const MIB = 1024 * 1024
/** Writing is allowed again below this share of the limit, so that it does not come and go. */
const ALLOWED_AGAIN = 0.95

interface Parts {
  readonly pool: Pool
  readonly engines: readonly Engine[]
  readonly log: Logger
}

/** Measures what instances' data take, and stops those from growing that have outgrown their plans. */
export async function keepLimits(parts: Parts, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await delay(LOOK_EVERY_MS, undefined, { signal }).catch(() => undefined)
    if (signal.aborted) return
    const instances = await listInstances(parts.pool).catch(() => [])
    for (const instance of instances.filter(({ state }) => state === 'ready'))
      await applyLimit(parts, instance).catch((error: unknown) =>
        parts.log.warn({ instance: instance.guid, err: error }, 'the size of a service instance could not be measured'),
      )
  }
}

/** One instance; a change of the plan or a restore is left alone. */
export async function applyLimit({ pool, engines, log }: Parts, record: InstanceRecord): Promise<void> {
  const offered = findPlan(engines, record.serviceId, record.planId)
  if (!offered || (await openOperations(pool, record.guid)).length > 0) return
  const { engine, plan } = offered
  const instance = { guid: record.guid, plan, parameters: record.parameters }
  if (record.exceeded) await engine.reclaim?.(instance)
  const bytes = await engine.size(instance)
  const limit = plan.diskMb * MIB
  const exceeded = record.exceeded ? bytes > limit * ALLOWED_AGAIN : bytes > limit
  if (exceeded === record.exceeded) return
  await engine.limit(instance, exceeded)
  await execute(pool, sql`UPDATE instances SET exceeded = ${exceeded} WHERE guid = ${record.guid} AND plan_id = ${record.planId}`)
  log.info(
    { instance: record.guid, bytes, limit },
    exceeded ? 'a service instance is over its limit' : 'a service instance is below its limit',
  )
}
