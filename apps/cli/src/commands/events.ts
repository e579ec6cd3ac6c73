import type { AuditEvent } from '@bloomery/client'
import type { Context } from '../context.js'
import { localTime } from '../local-time.js'

/** What cf tells of an event's data, in its order. */
const TOLD = [
  'index',
  'reason',
  'cell_id',
  'instance',
  'exit_description',
  'exit_status',
  'recursive',
  'disk_quota',
  'instances',
  'memory',
  'state',
  'command',
  'environment_json',
]

export async function listEvents(context: Context, name: string): Promise<void> {
  const { client, terminal } = context
  const app = await context.app(name)
  context.announce(`Getting events for app ${terminal.name(name)}`)
  const { resources } = await client.get<{ resources: AuditEvent[] }>('/v3/audit_events', {
    query: { order_by: '-created_at', target_guids: app.guid, page: 1 },
  })
  if (resources.length === 0) return terminal.line('No events found.')
  terminal.table(
    ['time', 'event', 'actor', 'description'],
    resources.map(({ created_at, type, actor, data }) => [
      localTime(BigInt(Date.parse(created_at)) * 1_000_000n),
      type,
      actor.name ?? '',
      describe(data ?? {}),
    ]),
  )
}

function describe(data: Readonly<Record<string, unknown>>): string {
  const told = (data['request'] ?? data) as Readonly<Record<string, unknown>>
  return TOLD.filter((key) => told[key] !== undefined && told[key] !== null)
    .map((key) => `${key}: ${typeof told[key] === 'string' ? told[key] : JSON.stringify(told[key])}`)
    .join(', ')
}
