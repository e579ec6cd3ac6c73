import type { Pool } from '@bloomery/database/sql'
import type { Logger } from '@bloomery/telemetry'
import { findPlan } from '../catalog/catalog.js'
import type { Engine, Metric } from '../engines/engine.js'
import { listBackups, listInstances } from '../state/instances.js'
import type { InstanceRecord } from '../state/records.js'

const LIMIT = { name: 'bloomery_service_data_limit_bytes', help: 'Bytes that the plan allows the data.' }
const UP = { name: 'bloomery_service_up', help: '1 if the figures of the instance could be read.' }
const BACKUP = { name: 'bloomery_service_last_backup_timestamp_seconds', help: 'When the newest backup was begun.' }
const MIB = 1024 * 1024

/** Figures of every instance, in Prometheus's text form. */
export async function presentMetrics(pool: Pool, engines: readonly Engine[], log: Logger): Promise<string> {
  const families = new Map<string, { readonly help: string; readonly lines: string[] }>()
  for (const record of await listInstances(pool)) {
    const labels = labelsOf(record, engines)
    for (const { name, help, value } of await figuresOf(pool, record, engines, log)) {
      const family = families.get(name) ?? { help, lines: [] }
      families.set(name, family)
      family.lines.push(`${name}{${labels}} ${value}`)
    }
  }
  return [...families]
    .map(([name, { help, lines }]) => `# HELP ${name} ${help}\n# TYPE ${name} gauge\n${lines.join('\n')}\n`)
    .join('')
}

async function figuresOf(pool: Pool, record: InstanceRecord, engines: readonly Engine[], log: Logger): Promise<Metric[]> {
  const offered = findPlan(engines, record.serviceId, record.planId)
  if (!offered || record.state !== 'ready') return []
  const { engine, plan } = offered
  const [newest] = (await listBackups(pool, record.guid)).filter(({ state }) => state === 'made')
  const common = [
    { ...LIMIT, value: plan.diskMb * MIB },
    ...(newest ? [{ ...BACKUP, value: Math.floor(newest.createdAt.getTime() / 1000) }] : []),
  ]
  try {
    const own = await engine.metrics({ guid: record.guid, plan, parameters: record.parameters })
    return [{ ...UP, value: 1 }, ...own, ...common]
  } catch (error) {
    log.warn({ instance: record.guid, err: error }, 'the figures of a service instance could not be read')
    return [{ ...UP, value: 0 }, ...common]
  }
}

function labelsOf(record: InstanceRecord, engines: readonly Engine[]): string {
  const offered = findPlan(engines, record.serviceId, record.planId)
  const { instance_name: name } = record.context ?? {}
  const labels = {
    instance: record.guid,
    name: typeof name === 'string' ? name : '',
    offering: offered?.engine.offering.name ?? record.serviceId,
    plan: offered?.plan.name ?? record.planId,
    space: record.spaceGuid,
    organization: record.organizationGuid,
  }
  return Object.entries(labels)
    .map(([key, value]) => `${key}="${value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')}"`)
    .join(',')
}
