import { ClientError } from '@bloomery/client'
import type { Context } from '../../context.js'

interface Orphan {
  readonly guid: string
  readonly state: string
  readonly kind: string
  readonly service_instance_guid: string
  readonly service_binding_guid: string | null
  readonly service_broker: { readonly guid: string; readonly name: string | null }
  readonly reason: string
  readonly attempts: number
  readonly last_error: string | null
  readonly next_attempt_at: string | null
}
const PATH = '/bloomery/v1/orphan_mitigations'

/** Lists what brokers may still hold, or has one deletion tried again or forgotten. */
export async function orphansCommand(context: Context, action: string | undefined, guid: string | undefined): Promise<void> {
  const { client, terminal } = context
  if (action === undefined || action === 'list') return listOrphans(context)
  if (action !== 'retry' && action !== 'forget')
    throw new ClientError('bad-argument', `'${action}' is no action of service-orphans; there are: list, retry, forget`)
  if (guid === undefined) throw new ClientError('bad-argument', 'Which one? See: bloom service-orphans')
  if (action === 'retry') await client.post(`${PATH}/${encodeURIComponent(guid)}/actions/retry`, undefined)
  else await client.complete('DELETE', `${PATH}/${encodeURIComponent(guid)}`)
  terminal.ok()
}

async function listOrphans({ client, terminal }: Context): Promise<void> {
  const { total, resources } = await client.get<{ total: number; resources: readonly Orphan[] }>(PATH)
  if (resources.length === 0) return terminal.line('No service broker holds anything that nobody wants.')
  terminal.table(
    ['guid', 'broker', 'kind', 'of', 'state', 'attempts', 'next try', 'last error'],
    resources.map((each) => [
      each.guid,
      each.service_broker.name ?? each.service_broker.guid,
      each.kind,
      each.service_binding_guid ?? each.service_instance_guid,
      each.state,
      String(each.attempts),
      each.next_attempt_at ?? '',
      each.last_error ?? each.reason,
    ]),
  )
  if (total > resources.length) terminal.line(`\n${total - resources.length} more.`)
  terminal.line(
    '\nTry one again: bloom service-orphans retry GUID; once it was removed at the broker: bloom service-orphans forget GUID',
  )
}
