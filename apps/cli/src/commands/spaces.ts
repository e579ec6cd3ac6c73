import { ApiError, type Space } from '@bloomery/client'
import type { Context } from '../context.js'
import { data, getOrganization } from './services/find.js'

export async function listSpaces(context: Context): Promise<void> {
  const { client, terminal, organization } = context
  terminal.line(`Getting spaces in org ${terminal.name(organization.name)} as ${terminal.name(client.session.userName)}...\n`)
  const spaces = await client.list<Space>('/v3/spaces', { organization_guids: organization.guid, order_by: 'name' })
  if (spaces.length === 0) return terminal.line('No spaces found.')
  terminal.table(
    ['name'],
    spaces.map(({ name }) => [name]),
  )
}

export async function createSpace(context: Context, name: string, flags: { readonly org?: string }): Promise<void> {
  const { client, terminal } = context
  const organization = await organizationOf(context, flags.org)
  const { userName, userGuid } = client.session
  terminal.line(
    `Creating space ${terminal.name(name)} in org ${terminal.name(organization.name)} as ${terminal.name(userName)}...`,
  )
  const before = await findSpace(context, name, organization.guid)
  if (before) terminal.warn(`Space '${name}' already exists.`)
  const relationships = { organization: data(organization.guid) }
  const { guid } = before ?? (await client.post<Space>('/v3/spaces', { name, relationships }))
  // Clients hold no roles: what they may do is in their scopes.
  for (const type of userGuid === undefined ? [] : ['space_manager', 'space_developer']) {
    const role = { type, relationships: { user: data(userGuid ?? ''), space: data(guid) } }
    await client.post('/v3/roles', role).catch((error: unknown) => {
      if (!(error instanceof ApiError && /already has '\w+' role/.test(error.message))) throw error
    })
  }
  terminal.ok()
  terminal.line(`\nTIP: Use 'bloom target -o "${organization.name}" -s "${name}"' to target new space`)
}

export async function deleteSpace(
  context: Context,
  name: string,
  flags: { readonly org?: string; readonly force?: boolean },
): Promise<void> {
  const { client, terminal } = context
  if (!flags.force && !(await terminal.confirm(`Really delete the space ${name}?`, '-f')))
    return terminal.line(`'${name}' has not been deleted.`)
  const organization = await organizationOf(context, flags.org)
  const space = await findSpace(context, name, organization.guid)
  terminal.line(
    `Deleting space ${terminal.name(name)} in org ${terminal.name(organization.name)} as ${terminal.name(client.session.userName)}...`,
  )
  if (space) await client.complete('DELETE', `/v3/spaces/${space.guid}`)
  else terminal.warn(`Space '${name}' does not exist.`)
  if (space && context.config.space?.guid === space.guid) {
    await context.save({ space: undefined })
    terminal.line(`TIP: No space targeted, use 'bloom target -s' to target a space.`)
  }
  terminal.ok()
}

const organizationOf = async (context: Context, name: string | undefined): Promise<{ guid: string; name: string }> =>
  name === undefined ? context.organization : getOrganization(context, name)

async function findSpace({ client }: Context, name: string, organizationGuid: string): Promise<Space | undefined> {
  const [space] = await client.list<Space>('/v3/spaces', { names: [name], organization_guids: organizationGuid })
  return space
}
