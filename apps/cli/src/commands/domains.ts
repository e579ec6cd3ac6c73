import { ClientError, type Domain, type RouterGroup } from '@bloomery/client'
import type { Context } from '../context.js'

const GROUPS = '/routing/v1/router_groups'

export async function listDomains(context: Context): Promise<void> {
  const { client, terminal, organization } = context
  terminal.line(`Getting domains in org ${terminal.name(organization.name)} as ${terminal.name(client.session.userName)}...\n`)
  const domains = await client.list<Domain>(`/v3/organizations/${organization.guid}/domains`)
  if (domains.length === 0) return terminal.line('No domains found.')
  terminal.table(
    ['name', 'availability', 'internal', 'protocols'],
    domains.map(({ name, internal, supported_protocols: protocols, relationships }) => [
      name,
      relationships?.organization.data ? 'private' : 'shared',
      internal ? 'true' : '',
      (protocols ?? []).join(','),
    ]),
  )
}

export async function createSharedDomain(
  { client, terminal }: Context,
  name: string,
  flags: { readonly routerGroup?: string; readonly internal?: boolean },
): Promise<void> {
  terminal.line(`Creating shared domain ${terminal.name(name)} as ${terminal.name(client.session.userName)}...`)
  const group = flags.routerGroup === undefined ? undefined : await getGroup(client, flags.routerGroup)
  await client.post('/v3/domains', {
    name,
    internal: flags.internal ?? false,
    ...(group ? { router_group: { guid: group.guid } } : {}),
  })
  terminal.ok()
  terminal.line(`\nTIP: Domain '${name}' is shared with all orgs. Run 'bloom domains' to view available domains.`)
}

export async function deleteSharedDomain(
  { client, terminal }: Context,
  name: string,
  flags: { readonly force?: boolean },
): Promise<void> {
  if (!flags.force) {
    terminal.line('This action impacts all orgs using this domain, and deletes its routes.')
    if (!(await terminal.confirm(`Really delete the shared domain ${name}?`, '-f')))
      return terminal.line(`'${name}' has not been deleted.`)
  }
  const [domain] = await client.list<Domain>('/v3/domains', { names: [name] })
  terminal.line(`Deleting domain ${terminal.name(name)} as ${terminal.name(client.session.userName)}...`)
  if (domain?.relationships?.organization.data)
    throw new ClientError('bad-argument', `Domain '${name}' is a private domain, not a shared one.`)
  if (domain) await client.complete('DELETE', `/v3/domains/${domain.guid}`)
  else terminal.warn(`Domain '${name}' does not exist.`)
  terminal.ok()
}

export async function listRouterGroups({ client, terminal }: Context): Promise<void> {
  terminal.line(`Getting router groups as ${terminal.name(client.session.userName)}...\n`)
  const groups = await client.get<RouterGroup[]>(GROUPS)
  if (groups.length === 0) return terminal.line('No router groups found.')
  terminal.table(
    ['name', 'type', 'ports'],
    groups.map(({ name, type, reservable_ports: ports }) => [name, type, ports ?? '']),
  )
}

async function getGroup(client: Context['client'], name: string): Promise<RouterGroup> {
  const groups = await client.get<RouterGroup[]>(GROUPS)
  const group = groups.find((each) => each.name === name)
  if (group) return group
  throw new ClientError('not-found', `Router group '${name}' not found. See: bloom router-groups`)
}
