import { type App, ClientError, type Domain, type Route } from '@bloomery/client'
import type { Context } from '../context.js'

export interface RouteFlags {
  readonly hostname?: string
  readonly path?: string
  readonly port?: number
}

export async function listRoutes(context: Context): Promise<void> {
  const { client, terminal, space } = context
  context.announce('Getting routes')
  const [routes, apps, domains] = await Promise.all([
    client.list<Route>('/v3/routes', { space_guids: space.guid }),
    client.list<App>('/v3/apps', { space_guids: space.guid }),
    client.list<Domain>('/v3/domains'),
  ])
  if (routes.length === 0) return terminal.line('No routes found.')
  const names = new Map(apps.map(({ guid, name }) => [guid, name]))
  const domainNames = new Map(domains.map(({ guid, name }) => [guid, name]))
  terminal.table(
    ['space', 'host', 'domain', 'path', 'protocol', 'apps'],
    routes.map((route) => [
      space.name,
      route.host,
      domainNames.get(route.relationships.domain.data?.guid ?? '') ?? '',
      route.path,
      route.protocol,
      [...new Set(route.destinations.map(({ app }) => names.get(app.guid) ?? app.guid))].join(', '),
    ]),
  )
}

export async function mapRoute(context: Context, name: string, domainName: string, flags: RouteFlags): Promise<void> {
  const { client, terminal } = context
  const [app, domain] = await Promise.all([context.app(name), findDomain(context, domainName)])
  const found = await findRoute(context, domain, flags)
  const route = found ?? (await createRoute(context, domain, flags))
  if (!found) terminal.line(`Creating route ${terminal.name(route.url)}...`)
  context.announce(`Mapping route ${terminal.name(route.url)} to app ${terminal.name(name)}`)
  if (route.destinations.some((each) => each.app.guid === app.guid)) {
    terminal.line(`App '${name}' is already mapped to route '${route.url}'. Nothing has been updated.`)
    return terminal.ok()
  }
  await client.post(`/v3/routes/${route.guid}/destinations`, { destinations: [{ app: { guid: app.guid } }] })
  terminal.ok()
}

export async function unmapRoute(context: Context, name: string, domainName: string, flags: RouteFlags): Promise<void> {
  const { client, terminal } = context
  const [app, domain] = await Promise.all([context.app(name), findDomain(context, domainName)])
  const route = await findRoute(context, domain, flags)
  if (!route) throw new ClientError('not-found', `There is no such route on domain ${domainName}. See: bloom routes`)
  context.announce(`Removing route ${terminal.name(route.url)} from app ${terminal.name(name)}`)
  const mapped = route.destinations.filter((each) => each.app.guid === app.guid)
  if (mapped.length === 0) terminal.line(`Route ${route.url} is not mapped to app '${name}'.`)
  for (const { guid } of mapped) {
    if (guid !== null) await (await client.request('DELETE', `/v3/routes/${route.guid}/destinations/${guid}`)).text()
  }
  terminal.ok()
}

async function findDomain({ client }: Context, name: string): Promise<Domain> {
  const [domain] = await client.list<Domain>('/v3/domains', { names: [name] })
  if (domain) return domain
  throw new ClientError('not-found', `Domain '${name}' not found.`)
}

const pathOf = (path: string | undefined): string => (path ? `/${path.replace(/^\/+/, '')}` : '')

async function findRoute({ client }: Context, domain: Domain, { hostname, path, port }: RouteFlags): Promise<Route | undefined> {
  const filters = port === undefined ? { hosts: hostname ?? '', paths: pathOf(path) } : { ports: port }
  const [route] = await client.list<Route>('/v3/routes', { domain_guids: domain.guid, ...filters })
  return route
}

const createRoute = ({ client, space }: Context, domain: Domain, { hostname, path, port }: RouteFlags): Promise<Route> =>
  client.post<Route>('/v3/routes', {
    ...(hostname === undefined ? {} : { host: hostname }),
    ...(path === undefined ? {} : { path: pathOf(path) }),
    ...(port === undefined ? {} : { port }),
    relationships: { domain: { data: { guid: domain.guid } }, space: { data: { guid: space.guid } } },
  })
