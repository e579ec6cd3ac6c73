import { ApiError, ClientError, type CredentialBinding, type Domain, type Route } from '@bloomery/client'
import type { Context } from '../../context.js'
import { data, getInstance, readObject } from './find.js'

const BINDINGS = '/v3/service_credential_bindings'

/** What is there already, is no failure; `words` is how the API says so. */
async function unlessThere(work: Promise<void>, words: RegExp, tell: () => void): Promise<void> {
  try {
    await work
  } catch (error) {
    if (!(error instanceof ApiError && error.status === 422 && words.test(error.message))) throw error
    tell()
  }
}

export async function bindService(
  context: Context,
  appName: string,
  name: string,
  flags: { readonly config?: string; readonly bindingName?: string; readonly strategy?: string },
): Promise<void> {
  const { client, terminal } = context
  const parameters = await readObject(context, flags.config, '-c')
  const [app, instance] = [await context.app(appName), await getInstance(context, name)]
  context.announce(`Binding service instance ${terminal.name(name)} to app ${terminal.name(appName)}`)
  const json = {
    type: 'app',
    relationships: { app: data(app.guid), service_instance: data(instance.guid) },
    ...(flags.bindingName === undefined ? {} : { name: flags.bindingName }),
    ...(flags.strategy === undefined ? {} : { strategy: flags.strategy }),
    ...(parameters === undefined ? {} : { parameters }),
  }
  await unlessThere(client.complete('POST', BINDINGS, { json }), /already bound to the service instance/, () =>
    terminal.line(`App ${appName} is already bound to service instance ${name}.`),
  )
  terminal.ok()
  terminal.line(`\nTIP: Use 'bloom restage ${appName}' or 'bloom restart ${appName}' to give it the credentials.`)
}

export async function unbindService(
  context: Context,
  appName: string,
  name: string,
  flags: { readonly guid?: string } = {},
): Promise<void> {
  const { client, terminal } = context
  const [app, instance] = [await context.app(appName), await getInstance(context, name)]
  context.announce(`Unbinding app ${terminal.name(appName)} from service ${terminal.name(name)}`)
  const all = await client.list<CredentialBinding>(BINDINGS, {
    type: 'app',
    app_guids: app.guid,
    service_instance_guids: instance.guid,
  })
  const found = flags.guid === undefined ? all : all.filter(({ guid }) => guid === flags.guid)
  if (found.length === 0) terminal.line(`Binding between ${name} and ${appName} did not exist`)
  for (const { guid } of found) await client.complete('DELETE', `${BINDINGS}/${guid}`)
  terminal.ok()
}

/** Removes what newer bindings of the same app and instance have made needless. */
export async function cleanUpBindings(
  context: Context,
  appName: string,
  flags: { readonly keepLast?: number; readonly service?: string; readonly force?: boolean },
): Promise<void> {
  const { client, terminal } = context
  const app = await context.app(appName)
  const instance = flags.service === undefined ? undefined : await getInstance(context, flags.service)
  const bindings = await client.list<CredentialBinding>(BINDINGS, {
    type: 'app',
    app_guids: app.guid,
    ...(instance ? { service_instance_guids: instance.guid } : {}),
  })
  const instances = new Set(bindings.map(({ relationships }) => relationships.service_instance.data?.guid))
  const old = [...instances].flatMap((guid) =>
    bindings
      .filter(({ relationships }) => relationships.service_instance.data?.guid === guid)
      .sort((a, b) => Date.parse(b.created_at) - Date.parse(a.created_at))
      .slice(flags.keepLast ?? 1),
  )
  if (old.length === 0) return terminal.line('No outdated service bindings found.')
  if (!flags.force && !(await terminal.confirm(`Really delete ${old.length} outdated service bindings of ${appName}?`, '-f')))
    return terminal.line('Cleanup cancelled')
  context.announce(`Deleting ${old.length} outdated service bindings of app ${terminal.name(appName)}`)
  for (const { guid } of old) await client.complete('DELETE', `${BINDINGS}/${guid}`)
  terminal.ok()
}

export async function createKey(context: Context, name: string, key: string, flags: { readonly config?: string }): Promise<void> {
  const { client, terminal } = context
  const parameters = await readObject(context, flags.config, '-c')
  const instance = await getInstance(context, name)
  context.announce(`Creating service key ${terminal.name(key)} for service instance ${terminal.name(name)}`)
  const json = {
    type: 'key',
    name: key,
    relationships: { service_instance: data(instance.guid) },
    ...(parameters === undefined ? {} : { parameters }),
  }
  await unlessThere(client.complete('POST', BINDINGS, { json }), /Key binding names must be unique/, () =>
    terminal.line(`Service key ${key} already exists`),
  )
  terminal.ok()
}

const keysOf = async ({ client }: Context, instanceGuid: string, name?: string): Promise<CredentialBinding[]> =>
  client.list<CredentialBinding>(BINDINGS, {
    type: 'key',
    service_instance_guids: instanceGuid,
    ...(name === undefined ? {} : { names: [name] }),
  })

export async function listKeys(context: Context, name: string): Promise<void> {
  const { terminal } = context
  const instance = await getInstance(context, name)
  context.announce(`Getting keys for service instance ${terminal.name(name)}`)
  const keys = await keysOf(context, instance.guid)
  if (keys.length === 0) return terminal.line(`No service keys for service instance ${name}`)
  terminal.table(
    ['name', 'last operation', 'message'],
    keys.map(({ name: key, last_operation: operation }) => [
      key ?? '',
      operation ? `${operation.type} ${operation.state}` : '',
      operation?.description ?? '',
    ]),
  )
}

export async function showKey(context: Context, name: string, key: string, flags: { readonly guid?: boolean }): Promise<void> {
  const { client, terminal } = context
  const instance = await getInstance(context, name)
  const [found] = await keysOf(context, instance.guid, key)
  if (!found) throw new ClientError('not-found', `No service key ${key} found for service instance ${name}.`)
  if (flags.guid) return terminal.line(found.guid)
  terminal.line(JSON.stringify(await client.get(`${BINDINGS}/${found.guid}/details`), null, 2))
}

export async function deleteKey(context: Context, name: string, key: string, flags: { readonly force?: boolean }): Promise<void> {
  const { client, terminal } = context
  if (!flags.force && !(await terminal.confirm(`Really delete the service key ${key}?`, '-f')))
    return terminal.line('Delete cancelled')
  const instance = await getInstance(context, name)
  context.announce(`Deleting key ${terminal.name(key)} for service instance ${terminal.name(name)}`)
  const [found] = await keysOf(context, instance.guid, key)
  if (found) await client.complete('DELETE', `${BINDINGS}/${found.guid}`)
  else terminal.line(`Service key ${key} does not exist for service instance ${name}.`)
  terminal.ok()
}

export interface RouteServiceFlags {
  readonly hostname?: string
  readonly path?: string
  readonly config?: string
}

async function getRoute({ client }: Context, domainName: string, { hostname, path }: RouteServiceFlags): Promise<Route> {
  const [domain] = await client.list<Domain>('/v3/domains', { names: [domainName] })
  if (!domain) throw new ClientError('not-found', `Domain '${domainName}' not found.`)
  const paths = path ? `/${path.replace(/^\/+/, '')}` : ''
  const [route] = await client.list<Route>('/v3/routes', { domain_guids: domain.guid, hosts: hostname ?? '', paths })
  if (!route) throw new ClientError('not-found', `There is no such route on domain ${domainName}. See: bloom routes`)
  return route
}

export async function bindRouteService(context: Context, domain: string, name: string, flags: RouteServiceFlags): Promise<void> {
  const { client, terminal } = context
  const parameters = await readObject(context, flags.config, '-c')
  const [instance, route] = [await getInstance(context, name), await getRoute(context, domain, flags)]
  context.announce(`Binding route ${terminal.name(route.url)} to service instance ${terminal.name(name)}`)
  const json = {
    relationships: { route: data(route.guid), service_instance: data(instance.guid) },
    ...(parameters === undefined ? {} : { parameters }),
  }
  await unlessThere(client.complete('POST', '/v3/service_route_bindings', { json }), /already bound/, () =>
    terminal.line(`Route ${route.url} is already bound to service instance ${name}.`),
  )
  terminal.ok()
}

export async function unbindRouteService(
  context: Context,
  domain: string,
  name: string,
  flags: RouteServiceFlags & { readonly force?: boolean },
): Promise<void> {
  const { client, terminal } = context
  const [instance, route] = [await getInstance(context, name), await getRoute(context, domain, flags)]
  if (!flags.force && !(await terminal.confirm(`Really unbind route ${route.url} from service instance ${name}?`, '-f')))
    return terminal.line('Unbind cancelled')
  context.announce(`Unbinding route ${terminal.name(route.url)} from service instance ${terminal.name(name)}`)
  const found = await client.list<{ guid: string }>('/v3/service_route_bindings', {
    route_guids: route.guid,
    service_instance_guids: instance.guid,
  })
  if (found.length === 0) terminal.line(`Route ${route.url} was not bound to service instance ${name}.`)
  for (const { guid } of found) await client.complete('DELETE', `/v3/service_route_bindings/${guid}`)
  terminal.ok()
}
