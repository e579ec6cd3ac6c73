import {
  ClientError,
  type CredentialBinding,
  type App,
  type ServiceInstance,
  type ServiceOffering,
  type ServicePlan,
} from '@bloomery/client'
import type { Context } from '../../context.js'
import { data, findInstance, getInstance, getPlan, getSpace, readObject, tagsOf } from './find.js'

export async function listServices(context: Context): Promise<void> {
  const { client, terminal, space } = context
  context.announce('Getting service instances')
  const instances = await client.list<ServiceInstance>('/v3/service_instances', { space_guids: space.guid, order_by: 'name' })
  if (instances.length === 0) return terminal.line('No service instances found.')
  const [plans, offerings, bindings, apps] = await Promise.all([
    client.list<ServicePlan>('/v3/service_plans', { service_instance_guids: instances.map(({ guid }) => guid) }),
    client.list<ServiceOffering>('/v3/service_offerings'),
    client.list<CredentialBinding>('/v3/service_credential_bindings', {
      type: 'app',
      service_instance_guids: instances.map(({ guid }) => guid),
    }),
    client.list<App>('/v3/apps', { space_guids: space.guid }),
  ])
  terminal.table(
    ['name', 'offering', 'plan', 'bound apps', 'last operation', 'upgrade available'],
    instances.map((instance) => {
      const plan = plans.find(({ guid }) => guid === instance.relationships.service_plan?.data?.guid)
      const offering = offerings.find(({ guid }) => guid === plan?.relationships.service_offering.data?.guid)
      const bound = bindings
        .filter(({ relationships }) => relationships.service_instance.data?.guid === instance.guid)
        .flatMap(({ relationships }) => apps.find(({ guid }) => guid === relationships.app?.data?.guid)?.name ?? [])
      return [
        instance.name,
        instance.type === 'user-provided' ? 'user-provided' : (offering?.name ?? ''),
        plan?.name ?? '',
        [...new Set(bound)].sort().join(', '),
        stateOf(instance),
        instance.upgrade_available == null ? '' : instance.upgrade_available ? 'yes' : 'no',
      ]
    }),
  )
}

const stateOf = ({ last_operation: operation }: Pick<ServiceInstance, 'last_operation'>): string =>
  operation ? `${operation.type} ${operation.state}` : ''

export async function showService(
  context: Context,
  name: string,
  flags: { readonly guid?: boolean; readonly params?: boolean },
): Promise<void> {
  const { client, terminal } = context
  const instance = await getInstance(context, name)
  if (flags.guid) return terminal.line(instance.guid)
  if (flags.params)
    return terminal.line(JSON.stringify(await client.get(`/v3/service_instances/${instance.guid}/parameters`), null, 2))
  context.announce(`Showing info of service ${terminal.name(name)}`)
  const planGuid = instance.relationships.service_plan?.data?.guid
  const plan = planGuid === undefined ? undefined : await client.get<ServicePlan>(`/v3/service_plans/${planGuid}`)
  const offeringGuid = plan?.relationships.service_offering.data?.guid
  const offering =
    offeringGuid === undefined ? undefined : await client.get<ServiceOffering>(`/v3/service_offerings/${offeringGuid}`)
  terminal.pairs([
    ['name', instance.name],
    ['guid', instance.guid],
    ['type', instance.type],
    ...(offering && plan
      ? ([
          ['offering', offering.name],
          ['plan', plan.name],
          ['description', offering.description],
        ] as const)
      : []),
    ['tags', (instance.tags ?? []).join(', ')],
    ...(instance.dashboard_url ? ([['dashboard', instance.dashboard_url]] as const) : []),
    ...(instance.route_service_url ? ([['route service url', instance.route_service_url]] as const) : []),
    ...(instance.syslog_drain_url ? ([['syslog drain url', instance.syslog_drain_url]] as const) : []),
    ['last operation', stateOf(instance)],
    ['message', instance.last_operation?.description ?? ''],
    ['updated', instance.last_operation?.updated_at ?? ''],
  ])
  const [bindings, apps] = await Promise.all([
    client.list<CredentialBinding>('/v3/service_credential_bindings', { type: 'app', service_instance_guids: instance.guid }),
    client.list<App>('/v3/apps', { space_guids: context.space.guid }),
  ])
  terminal.line()
  if (bindings.length === 0) return terminal.line('This service is bound to no app.')
  terminal.table(
    ['bound app', 'binding name', 'state', 'guid'],
    bindings.map((binding) => [
      apps.find(({ guid }) => guid === binding.relationships.app?.data?.guid)?.name ?? '',
      binding.name ?? '',
      binding.last_operation ? `${binding.last_operation.type} ${binding.last_operation.state}` : '',
      binding.guid,
    ]),
  )
}

export async function createService(
  context: Context,
  offering: string,
  plan: string,
  name: string,
  flags: { readonly broker?: string; readonly config?: string; readonly tags?: string },
): Promise<void> {
  const { client, terminal, space } = context
  const parameters = await readObject(context, flags.config, '-c')
  const { guid } = await getPlan(context, plan, { offering, broker: flags.broker })
  context.announce(`Creating service instance ${terminal.name(name)}`)
  await client.complete('POST', '/v3/service_instances', {
    json: {
      type: 'managed',
      name,
      relationships: { space: data(space.guid), service_plan: data(guid) },
      ...(flags.tags === undefined ? {} : { tags: tagsOf(flags.tags) }),
      ...(parameters === undefined ? {} : { parameters }),
    },
  })
  terminal.ok()
}

export async function updateService(
  context: Context,
  name: string,
  flags: { readonly plan?: string; readonly config?: string; readonly tags?: string },
): Promise<void> {
  const { client, terminal } = context
  const parameters = await readObject(context, flags.config, '-c')
  const instance = await getInstance(context, name)
  const change: Record<string, unknown> = {
    ...(flags.tags === undefined ? {} : { tags: tagsOf(flags.tags) }),
    ...(parameters === undefined ? {} : { parameters }),
  }
  if (flags.plan !== undefined) {
    const present = await client.get<ServicePlan>(`/v3/service_plans/${instance.relationships.service_plan?.data?.guid ?? ''}`)
    const offeringGuid = present.relationships.service_offering.data?.guid ?? ''
    const plan = await getPlan(context, flags.plan, { offeringGuid })
    if (plan.guid !== present.guid) change['relationships'] = { service_plan: data(plan.guid) }
  }
  context.announce(`Updating service instance ${terminal.name(name)}`)
  if (Object.keys(change).length === 0) terminal.line('No flags that change anything. Nothing has been updated.')
  else await client.complete('PATCH', `/v3/service_instances/${instance.guid}`, { json: change })
  terminal.ok()
}

export async function upgradeService(context: Context, name: string, flags: { readonly force?: boolean }): Promise<void> {
  const { client, terminal } = context
  const instance = await getInstance(context, name)
  if (!instance.upgrade_available) return terminal.line(`No upgrade is available for ${name}.`)
  const question = `Warning: This operation may be long running and will block further operations on ${name}. Really upgrade?`
  if (!flags.force && !(await terminal.confirm(question, '-f'))) return terminal.line('Upgrade cancelled')
  const plan = await client.get<ServicePlan>(`/v3/service_plans/${instance.relationships.service_plan?.data?.guid ?? ''}`)
  context.announce(`Upgrading service instance ${terminal.name(name)}`)
  const version = plan.maintenance_info?.version
  await client.complete('PATCH', `/v3/service_instances/${instance.guid}`, { json: { maintenance_info: { version } } })
  terminal.ok()
}

export async function deleteService(context: Context, name: string, flags: { readonly force?: boolean }): Promise<void> {
  await remove(context, name, flags, 'delete', '')
}

export async function purgeInstance(context: Context, name: string, flags: { readonly force?: boolean }): Promise<void> {
  context.terminal.line('WARNING: The broker is not asked: what it holds may remain there.')
  await remove(context, name, flags, 'purge', '?purge=true')
}

async function remove(
  context: Context,
  name: string,
  flags: { readonly force?: boolean },
  what: 'delete' | 'purge',
  query: string,
): Promise<void> {
  const { client, terminal } = context
  if (!flags.force && !(await terminal.confirm(`Really ${what} the service instance ${name}?`, '-f')))
    return terminal.line(`${what === 'delete' ? 'Delete' : 'Purge'} cancelled`)
  const instance = await findInstance(context, name)
  context.announce(`${what === 'delete' ? 'Deleting' : 'Purging'} service instance ${terminal.name(name)}`)
  if (instance) await client.complete('DELETE', `/v3/service_instances/${instance.guid}${query}`)
  else terminal.warn(`Service instance '${name}' did not exist.`)
  terminal.ok()
}

export async function renameService(context: Context, name: string, newName: string): Promise<void> {
  const { client, terminal } = context
  const instance = await getInstance(context, name)
  context.announce(`Renaming service instance ${terminal.name(name)} to ${terminal.name(newName)}`)
  await client.complete('PATCH', `/v3/service_instances/${instance.guid}`, { json: { name: newName } })
  terminal.ok()
}

export async function shareService(
  context: Context,
  name: string,
  flags: { readonly space?: string; readonly org?: string },
  unshare: boolean,
): Promise<void> {
  const { client, terminal } = context
  if (flags.space === undefined) throw new ClientError('bad-argument', 'Name the other space with -s.')
  const [instance, space] = [await getInstance(context, name), await getSpace(context, flags.space, flags.org)]
  context.announce(
    `${unshare ? 'Unsharing' : 'Sharing'} service instance ${terminal.name(name)} with space ${terminal.name(space.name)}`,
  )
  const path = `/v3/service_instances/${instance.guid}/relationships/shared_spaces`
  if (unshare) await client.complete('DELETE', `${path}/${space.guid}`)
  else await client.post(path, { data: [{ guid: space.guid }] })
  terminal.ok()
}

export interface UserProvidedFlags {
  readonly credentials?: string
  readonly drain?: string
  readonly routeService?: string
  readonly tags?: string
}

export async function userProvidedService(
  context: Context,
  name: string,
  flags: UserProvidedFlags,
  isNew: boolean,
): Promise<void> {
  const { client, terminal, space } = context
  const credentials = await readObject(context, flags.credentials, '-p')
  const wish = {
    ...(credentials === undefined ? {} : { credentials }),
    ...(flags.drain === undefined ? {} : { syslog_drain_url: flags.drain }),
    ...(flags.routeService === undefined ? {} : { route_service_url: flags.routeService }),
    ...(flags.tags === undefined ? {} : { tags: tagsOf(flags.tags) }),
  }
  if (isNew) {
    context.announce(`Creating user provided service ${terminal.name(name)}`)
    await client.post('/v3/service_instances', {
      type: 'user-provided',
      name,
      relationships: { space: data(space.guid) },
      ...wish,
    })
  } else {
    const instance = await getInstance(context, name)
    context.announce(`Updating user provided service ${terminal.name(name)}`)
    await client.patch(`/v3/service_instances/${instance.guid}`, wish)
    terminal.line("TIP: Use 'bloom restart APP' to give running instances new credentials.")
  }
  terminal.ok()
}
