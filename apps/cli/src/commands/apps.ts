import {
  ApiError,
  type App,
  type AppEnvironment,
  type AuditEvent,
  ClientError,
  deploy,
  parseMegabytes,
  type Process,
  type Route,
  stageIfNeeded,
  type StageOptions,
  waitUntilStarted,
} from '@bloomery/client'
import type { Context } from '../context.js'
import { showApp } from '../show-app.js'

export async function listApps(context: Context): Promise<void> {
  const { client, terminal, space } = context
  context.announce('Getting apps')
  const [apps, processes, routes] = await Promise.all([
    client.list<App>('/v3/apps', { space_guids: space.guid, order_by: 'name' }),
    client.list<Process>('/v3/processes', { space_guids: space.guid, embed: 'process_instances' }),
    client.list<Route>('/v3/routes', { space_guids: space.guid }),
  ])
  if (apps.length === 0) return terminal.line('No apps found.')
  terminal.table(
    ['name', 'requested state', 'processes', 'routes'],
    apps.map((app) => [
      app.name,
      app.state.toLowerCase(),
      processes
        .filter((process) => process.relationships.app.data?.guid === app.guid)
        .map(
          ({ type, process_instances: all = [] }) =>
            `${type}:${all.filter(({ state }) => state === 'RUNNING').length}/${all.length}`,
        )
        .join(', '),
      routes
        .filter(({ destinations }) => destinations.some((each) => each.app.guid === app.guid))
        .map(({ url }) => url)
        .join(', '),
    ]),
  )
}

export async function showAppCommand(context: Context, name: string, flags: { readonly guid?: boolean }): Promise<void> {
  const app = await context.app(name)
  if (flags.guid) return context.terminal.line(app.guid)
  context.announce(`Showing health and status for app ${context.terminal.name(name)}`)
  await showApp(context, app)
}

export async function startApp(context: Context, name: string): Promise<void> {
  const app = await context.app(name)
  context.announce(`Starting app ${context.terminal.name(name)}`)
  if (app.state === 'STARTED') context.terminal.line(`App '${name}' is already started.\n`)
  else await stageAndStart(context, app)
  await waitUntilStarted(context.client, app.guid)
  await showApp(context, { ...app, state: 'STARTED' })
}

export async function stopApp(context: Context, name: string): Promise<void> {
  const app = await context.app(name)
  context.announce(`Stopping app ${context.terminal.name(name)}`)
  if (app.state === 'STOPPED') context.terminal.line(`App '${name}' is already stopped.`)
  else await context.client.post(`/v3/apps/${app.guid}/actions/stop`)
  context.terminal.ok()
}

export async function restartApp(context: Context, name: string, flags: { readonly strategy?: string }): Promise<void> {
  const app = await context.app(name)
  const { client } = context
  context.announce(`Restarting app ${context.terminal.name(name)}`)
  if (flags.strategy !== undefined) await deploy(client, app.guid, { strategy: flags.strategy })
  else {
    if (app.state === 'STARTED') await client.post(`/v3/apps/${app.guid}/actions/stop`)
    await stageAndStart(context, app)
  }
  await waitUntilStarted(client, app.guid)
  await showApp(context, { ...app, state: 'STARTED' })
}

async function stageAndStart({ client, terminal }: Context, app: App): Promise<void> {
  const options: StageOptions = { onLine: ({ text }) => terminal.line(`   ${text}`) }
  await stageIfNeeded(client, app.guid, options)
  await client.post(`/v3/apps/${app.guid}/actions/start`)
}

export interface ScaleFlags {
  readonly instances?: number
  readonly memory?: string
  readonly disk?: string
  readonly process: string
  readonly force?: boolean
}

export async function scaleApp(context: Context, name: string, flags: ScaleFlags): Promise<void> {
  const { client, terminal } = context
  const app = await context.app(name)
  const { instances, memory, disk } = flags
  const resized = memory !== undefined || disk !== undefined
  context.announce(`${instances === undefined && !resized ? 'Showing scale of' : 'Scaling'} app ${terminal.name(name)}`)
  if (resized && app.state === 'STARTED' && !flags.force && terminal.interactive) {
    if (!(await terminal.confirm(`This will cause the app to restart. Really scale ${name}?`, '-f')))
      return terminal.line('Scaling cancelled')
  }
  if (instances !== undefined || resized) {
    await client.post(`/v3/apps/${app.guid}/processes/${encodeURIComponent(flags.process)}/actions/scale`, {
      ...(instances === undefined ? {} : { instances }),
      ...(memory === undefined ? {} : { memory_in_mb: parseMegabytes(memory) }),
      ...(disk === undefined ? {} : { disk_in_mb: parseMegabytes(disk) }),
    })
    if (resized && app.state === 'STARTED') {
      await client.post(`/v3/apps/${app.guid}/actions/stop`)
      await client.post(`/v3/apps/${app.guid}/actions/start`)
    }
    if (app.state === 'STARTED') await waitUntilStarted(client, app.guid)
  }
  await showApp(context, app)
}

export async function showEnvironment(context: Context, name: string): Promise<void> {
  const { client, terminal } = context
  const app = await context.app(name)
  context.announce(`Getting env variables for app ${terminal.name(name)}`)
  const env = await client.get<AppEnvironment>(`/v3/apps/${app.guid}/env`)
  const show = (title: string, values: Readonly<Record<string, unknown>> | null, asJson = false): void => {
    const entries = Object.entries(values ?? {}).sort(([a], [b]) => (a < b ? -1 : 1))
    if (entries.length === 0) return terminal.line(`No ${title.toLowerCase()} have been set\n`)
    terminal.line(`${title}:`)
    for (const [key, value] of entries)
      terminal.line(`${key}: ${typeof value === 'string' ? value : JSON.stringify(value, null, asJson ? 2 : 0)}`)
    terminal.line()
  }
  show('System-provided env variables', { ...env.system_env_json, ...env.application_env_json }, true)
  show('User-provided env variables', env.environment_variables)
  show('Running environment variable groups', env.running_env_json)
  show('Staging environment variable groups', env.staging_env_json)
}

export async function setEnvironment(context: Context, name: string, variable: string, value: string | null): Promise<void> {
  const app = await context.app(name)
  context.announce(
    `${value === null ? 'Removing' : 'Setting'} env variable ${variable} ${value === null ? 'from' : 'of'} app ${name}`,
  )
  await context.client.patch(`/v3/apps/${app.guid}/environment_variables`, { var: { [variable]: value } })
  context.terminal.ok()
  context.terminal.line(`TIP: Use 'bloom restart ${name}' to ensure your env variable changes take effect.`)
}

export async function deleteApp(
  context: Context,
  name: string,
  flags: { readonly force?: boolean; readonly routes?: boolean },
): Promise<void> {
  const { client, terminal } = context
  const app = await context.findApp(name)
  if (!app) {
    terminal.ok()
    return terminal.warn(`App '${name}' does not exist.`)
  }
  if (!flags.force) {
    const what = flags.routes ? `the app ${name} and its routes` : `the app ${name}`
    if (!(await terminal.confirm(`Really delete ${what}?`, '-f'))) return terminal.line('Delete cancelled')
  }
  context.announce(`Deleting app ${terminal.name(name)}`)
  const routes = flags.routes ? await client.list<Route>(`/v3/apps/${app.guid}/routes`) : []
  const shared = routes.find(({ destinations }) => destinations.some((each) => each.app.guid !== app.guid))
  if (shared)
    throw new ClientError('bad-argument', `Route ${shared.url} also leads to another app. Unmap it first, or delete without -r.`)
  await client.complete('DELETE', `/v3/apps/${app.guid}`)
  for (const { guid } of routes) {
    await client.complete('DELETE', `/v3/routes/${guid}`).catch((error: unknown) => {
      if (!(error instanceof ApiError && error.status === 404)) throw error
    })
  }
  terminal.ok()
}

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
    resources.map(({ created_at, type, actor, data }) => {
      const told = (data?.['request'] ?? data ?? {}) as Record<string, unknown>
      const description = [...TOLD, 'state', 'command', 'environment_json']
        .filter((key) => told[key] !== undefined && told[key] !== null)
        .map((key) => `${key}: ${typeof told[key] === 'string' ? told[key] : JSON.stringify(told[key])}`)
      return [new Date(created_at).toISOString(), type, actor.name ?? '', description.join(', ')]
    }),
  )
}
