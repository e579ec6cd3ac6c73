import { ClientError, type ServiceBroker, type ServiceOffering, type ServicePlan } from '@bloomery/client'
import type { Context } from '../../context.js'
import { data, getOrganization } from './find.js'

const BROKERS = '/v3/service_brokers'

async function getBroker({ client }: Context, name: string): Promise<ServiceBroker> {
  const [broker] = await client.list<ServiceBroker>(BROKERS, { names: [name] })
  if (broker) return broker
  throw new ClientError('not-found', `Service broker '${name}' not found. See: bloom service-brokers`)
}

export async function listBrokers({ client, terminal }: Context): Promise<void> {
  const brokers = await client.list<ServiceBroker>(BROKERS, { order_by: 'name' })
  if (brokers.length === 0) return terminal.line('No service brokers found')
  terminal.table(
    ['name', 'url'],
    brokers.map(({ name, url }) => [name, url]),
  )
}

const basic = (username: string, password: string) => ({ type: 'basic', credentials: { username, password } })

/** The password may be left out of the command line, where others might read it. */
async function passwordOf(context: Context, given: string | undefined): Promise<string> {
  return (
    given ??
    context.surroundings.env['BLOOM_BROKER_PASSWORD'] ??
    context.terminal.ask('Password', 'the environment variable BLOOM_BROKER_PASSWORD', { secret: true })
  )
}

export async function createBroker(
  context: Context,
  words: readonly [name: string, user: string, passwordOrUrl: string, url: string | undefined],
  flags: { readonly spaceScoped?: boolean },
): Promise<void> {
  const { client, terminal } = context
  const [name, user, passwordOrUrl, last] = words
  const [password, url] = [await passwordOf(context, last === undefined ? undefined : passwordOrUrl), last ?? passwordOrUrl]
  terminal.line(`Creating service broker ${terminal.name(name)} as ${terminal.name(client.session.userName)}...`)
  const relationships = flags.spaceScoped ? { relationships: { space: data(context.space.guid) } } : {}
  await client.complete('POST', BROKERS, { json: { name, url, authentication: basic(user, password), ...relationships } })
  terminal.ok()
}

export async function updateBroker(
  context: Context,
  words: readonly [name: string, user: string, passwordOrUrl: string, url: string | undefined],
): Promise<void> {
  const { client, terminal } = context
  const [name, user, passwordOrUrl, last] = words
  const [password, url] = [await passwordOf(context, last === undefined ? undefined : passwordOrUrl), last ?? passwordOrUrl]
  const broker = await getBroker(context, name)
  terminal.line(`Updating service broker ${terminal.name(name)} as ${terminal.name(client.session.userName)}...`)
  await client.complete('PATCH', `${BROKERS}/${broker.guid}`, { json: { url, authentication: basic(user, password) } })
  terminal.ok()
}

export async function renameBroker(context: Context, name: string, newName: string): Promise<void> {
  const { client, terminal } = context
  const broker = await getBroker(context, name)
  terminal.line(`Renaming service broker ${terminal.name(name)} to ${terminal.name(newName)}...`)
  await client.complete('PATCH', `${BROKERS}/${broker.guid}`, { json: { name: newName } })
  terminal.ok()
}

export async function deleteBroker(context: Context, name: string, flags: { readonly force?: boolean }): Promise<void> {
  const { client, terminal } = context
  if (!flags.force && !(await terminal.confirm(`Really delete the service broker ${name}?`, '-f')))
    return terminal.line('Delete cancelled')
  const [broker] = await client.list<ServiceBroker>(BROKERS, { names: [name] })
  terminal.line(`Deleting service broker ${terminal.name(name)}...`)
  if (broker) await client.complete('DELETE', `${BROKERS}/${broker.guid}`)
  else terminal.warn(`Service broker '${name}' does not exist.`)
  terminal.ok()
}

export interface AccessFlags {
  readonly plan?: string
  readonly org?: string
  readonly broker?: string
}

async function plansOf({ client }: Context, offering: string, { plan, broker }: AccessFlags): Promise<ServicePlan[]> {
  const offerings = await client.list<ServiceOffering>('/v3/service_offerings', {
    names: [offering],
    ...(broker === undefined ? {} : { service_broker_names: [broker] }),
  })
  const [found, other] = offerings
  if (!found) throw new ClientError('not-found', `Service offering '${offering}' not found.`)
  if (other) throw new ClientError('bad-argument', `Several brokers offer '${offering}'. Name one with -b.`)
  const plans = await client.list<ServicePlan>('/v3/service_plans', {
    service_offering_guids: found.guid,
    ...(plan === undefined ? {} : { names: [plan] }),
  })
  if (plans.length === 0) throw new ClientError('not-found', `The plan '${plan ?? ''}' of '${offering}' was not found.`)
  return plans
}

export async function showAccess(
  context: Context,
  flags: { readonly offering?: string; readonly broker?: string },
): Promise<void> {
  const { client, terminal } = context
  const filters = {
    ...(flags.offering === undefined ? {} : { service_offering_names: [flags.offering] }),
    ...(flags.broker === undefined ? {} : { service_broker_names: [flags.broker] }),
  }
  const [plans, offerings] = await Promise.all([
    client.list<ServicePlan>('/v3/service_plans', filters),
    client.list<ServiceOffering>('/v3/service_offerings'),
  ])
  if (plans.length === 0) return terminal.line('No service plans found.')
  const access = { public: 'all', admin: 'none', organization: 'limited', space: 'limited' } as const
  const rows: string[][] = []
  for (const plan of plans) {
    const offering = offerings.find(({ guid }) => guid === plan.relationships.service_offering.data?.guid)
    const { organizations = [] } =
      plan.visibility_type === 'organization'
        ? await client.get<{ organizations?: readonly { name?: string }[] }>(`/v3/service_plans/${plan.guid}/visibility`)
        : {}
    rows.push([
      offering?.name ?? '',
      plan.name,
      access[plan.visibility_type],
      organizations.map(({ name }) => name ?? '').join(', '),
    ])
  }
  terminal.table(['offering', 'plan', 'access', 'orgs'], rows)
}

export async function changeAccess(context: Context, offering: string, flags: AccessFlags, enable: boolean): Promise<void> {
  const { client, terminal } = context
  const organization = flags.org === undefined ? undefined : await getOrganization(context, flags.org)
  const plans = await plansOf(context, offering, flags)
  const whom = organization ? ` for org ${terminal.name(organization.name)}` : ''
  terminal.line(`${enable ? 'Enabling' : 'Disabling'} access to service ${terminal.name(offering)}${whom}...`)
  for (const { guid, visibility_type: type } of plans) {
    const path = `/v3/service_plans/${guid}/visibility`
    if (!organization) await client.post(path, { type: enable ? 'public' : 'admin' })
    else if (!enable) await client.complete('DELETE', `${path}/${organization.guid}`)
    else if (type !== 'public') await client.post(path, { type: 'organization', organizations: [{ guid: organization.guid }] })
  }
  terminal.ok()
}

export async function purgeOffering(
  context: Context,
  offering: string,
  flags: { readonly broker?: string; readonly force?: boolean },
): Promise<void> {
  const { client, terminal } = context
  terminal.line('WARNING: The broker is not asked: its instances and bindings are forgotten here and may remain there.')
  if (!flags.force && !(await terminal.confirm(`Really purge the service offering ${offering}?`, '-f')))
    return terminal.line('Purge cancelled')
  const found = await client.list<ServiceOffering>('/v3/service_offerings', {
    names: [offering],
    ...(flags.broker === undefined ? {} : { service_broker_names: [flags.broker] }),
  })
  if (found.length > 1) throw new ClientError('bad-argument', `Several brokers offer '${offering}'. Name one with -b.`)
  for (const { guid } of found) await client.complete('DELETE', `/v3/service_offerings/${guid}?purge=true`)
  if (found.length === 0) terminal.warn(`Service offering '${offering}' not found.`)
  terminal.ok()
}
