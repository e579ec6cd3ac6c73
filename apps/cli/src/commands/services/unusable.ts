import { ClientError } from '@bloomery/client'
import type { Context } from '../../context.js'

interface Unusable {
  readonly guid: string
  readonly name: string
  readonly organization: { readonly name: string }
  readonly space: { readonly name: string }
  readonly service_broker: { readonly name: string }
  readonly service_offering: string
  readonly service_plan: string
  readonly last_operation?: { readonly description: string | null }
}
const PATH = '/bloomery/v1/unusable_service_instances'

/** Lists instances of which a broker has said that they serve no more, or declares one repaired. */
export async function unusableCommand(context: Context, action: string | undefined, guid: string | undefined): Promise<void> {
  const { client, terminal } = context
  if (action === undefined || action === 'list') return listUnusable(context)
  if (action !== 'repaired')
    throw new ClientError('bad-argument', `'${action}' is no action of unusable-services; there are: list, repaired`)
  if (guid === undefined) throw new ClientError('bad-argument', 'Which one? See: bloom unusable-services')
  await client.post(`${PATH}/${encodeURIComponent(guid)}/actions/declare_repaired`, undefined)
  terminal.ok()
}

async function listUnusable({ client, terminal }: Context): Promise<void> {
  const { total, resources } = await client.get<{ total: number; resources: readonly Unusable[] }>(PATH)
  if (resources.length === 0) return terminal.line('No service broker has said that an instance cannot be used.')
  terminal.table(
    ['guid', 'name', 'org', 'space', 'offering', 'plan', 'broker', 'message'],
    resources.map((each) => [
      each.guid,
      each.name,
      each.organization.name,
      each.space.name,
      each.service_offering,
      each.service_plan,
      each.service_broker.name,
      each.last_operation?.description ?? '',
    ]),
  )
  if (total > resources.length) terminal.line(`\n${total - resources.length} more.`)
  terminal.line('\nOnce one was repaired at its broker: bloom unusable-services repaired GUID')
}
