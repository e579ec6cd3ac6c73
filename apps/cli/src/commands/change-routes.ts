import { ApiError, ClientError, type Route } from '@bloomery/client'
import type { Context } from '../context.js'
import { createRoute, findRoute, getDomain, getRoute, optionsOf, type NewRouteFlags, type RouteFlags } from './routes.js'
import { getSpace } from './services/find.js'

export async function createRouteCommand(context: Context, domainName: string, flags: NewRouteFlags): Promise<void> {
  const { terminal } = context
  const domain = await getDomain(context, domainName)
  context.announce(`Creating route ${terminal.name(addressOf(domainName, flags))}`)
  try {
    const { url } = await createRoute(context, domain, flags)
    terminal.line(`Route ${terminal.name(url)} has been created.`)
  } catch (error) {
    const isThere = error instanceof ApiError && /^Route already exists /.test(error.message)
    if (!isThere || !(await findRoute(context, domain, flags))) throw error
    terminal.warn(`Route ${addressOf(domainName, flags)} already exists.`)
  }
  terminal.ok()
}

export async function updateRoute(
  context: Context,
  domainName: string,
  flags: NewRouteFlags & { readonly removeOption?: readonly string[] },
): Promise<void> {
  const { client, terminal } = context
  const { option = [], removeOption = [] } = flags
  if (option.length + removeOption.length === 0)
    throw new ClientError('bad-argument', 'Say what to change: -o KEY=VALUE sets an option, -r KEY removes one.')
  const options = { ...Object.fromEntries(removeOption.map((key) => [key, null])), ...optionsOf(option) }
  const route = await getRoute(context, await getDomain(context, domainName), flags)
  context.announce(`Updating route ${terminal.name(route.url)}`)
  await client.patch(`/v3/routes/${route.guid}`, { options })
  terminal.line(`Route ${terminal.name(route.url)} has been updated`)
  terminal.ok()
}

export async function deleteRoute(
  context: Context,
  domainName: string,
  flags: RouteFlags & { readonly force?: boolean },
): Promise<void> {
  const { client, terminal } = context
  const address = addressOf(domainName, flags)
  if (!flags.force && !(await terminal.confirm(`Really delete the route ${address}?`, '-f')))
    return terminal.line(`'${address}' has not been deleted.`)
  const route = await findRoute(context, await getDomain(context, domainName), flags)
  context.announce(`Deleting route ${terminal.name(address)}`)
  if (route) await client.complete('DELETE', `/v3/routes/${route.guid}`)
  else terminal.warn(`Unable to delete. Route ${address} was not found.`)
  terminal.ok()
}

interface OtherSpace extends RouteFlags {
  readonly space?: string
  readonly org?: string
}

export async function shareRoute(context: Context, domainName: string, flags: OtherSpace): Promise<void> {
  await withOtherSpace(context, domainName, flags, 'Sharing', 'to', async (route, space) => {
    await context.client.post(`/v3/routes/${route.guid}/relationships/shared_spaces`, { data: [{ guid: space.guid }] })
  })
}

export async function unshareRoute(context: Context, domainName: string, flags: OtherSpace): Promise<void> {
  await withOtherSpace(context, domainName, flags, 'Removing', 'from', async (route, space) => {
    await context.client.complete('DELETE', `/v3/routes/${route.guid}/relationships/shared_spaces/${space.guid}`)
  })
}

export async function moveRoute(context: Context, domainName: string, flags: OtherSpace): Promise<void> {
  await withOtherSpace(context, domainName, flags, 'Moving', 'to', async (route, space) => {
    await context.client.patch(`/v3/routes/${route.guid}/relationships/space`, { data: { guid: space.guid } })
  })
}

async function withOtherSpace(
  context: Context,
  domainName: string,
  flags: OtherSpace,
  doing: string,
  direction: string,
  act: (route: Route, space: { readonly guid: string }) => Promise<void>,
): Promise<void> {
  const { terminal } = context
  if (flags.space === undefined) throw new ClientError('bad-argument', 'Name the other space with -s SPACE.')
  const space = await getSpace(context, flags.space, flags.org)
  const route = await getRoute(context, await getDomain(context, domainName), flags)
  context.announce(`${doing} route ${terminal.name(route.url)} ${direction} space ${terminal.name(flags.space)}`)
  await act(route, space)
  terminal.ok()
}

/** As people write it. */
const addressOf = (domain: string, { hostname, path, port }: RouteFlags): string =>
  `${hostname === undefined ? '' : `${hostname}.`}${domain}${port === undefined ? '' : `:${port}`}${path === undefined ? '' : `/${path.replace(/^\/+/, '')}`}`
