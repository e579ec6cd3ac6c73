import {
  ApiError,
  type App,
  type Deployment,
  type Droplet,
  formatSize,
  type InstanceStats,
  type Process,
  processesOf,
  type Route,
  statsOf,
} from '@bloomery/client'
import type { Context } from './context.js'
import { friendlyDate } from './local-time.js'

/** The tail of push, start, restart and scale, and all of `bloom app`. */
export async function showApp({ client, terminal }: Context, app: App): Promise<void> {
  const [routes, droplet, processes, deployment] = await Promise.all([
    client.list<Route>(`/v3/apps/${app.guid}/routes`),
    currentDroplet(client, app.guid),
    processesOf(client, app.guid),
    client.findOne<Deployment>('/v3/deployments', { app_guids: app.guid, order_by: '-created_at', status_values: 'ACTIVE' }),
  ])
  const shown = (await Promise.all(processes.map((process) => withInstances(client, process)))).flat()
  terminal.pairs([
    ['name', app.name],
    ['requested state', app.state.toLowerCase()],
    ['routes', routes.map(({ url }) => url).join(', ')],
    ['last uploaded', droplet ? friendlyDate(droplet.created_at) : ''],
    ['stack', droplet?.stack ?? ''],
    ['buildpacks', ''],
  ])
  if (droplet && droplet.buildpacks.length > 0)
    terminal.table(
      ['name', 'version', 'detect output', 'buildpack name'],
      droplet.buildpacks.map((each) => [each.name, each.version ?? '', each.detect_output ?? '', each.buildpack_name ?? '']),
      '\t',
    )
  const order = (type: string): string => (type === 'web' ? '' : type)
  for (const { process, instances } of shown.sort((a, b) => (order(a.process.type) < order(b.process.type) ? -1 : 1)))
    showProcess(terminal, process, instances)
  if (deployment) showDeployment(terminal, deployment)
}

/** The end of a deployment may have removed the process since it was listed. */
async function withInstances(
  client: Context['client'],
  process: Process,
): Promise<{ process: Process; instances: InstanceStats[] }[]> {
  try {
    return [{ process, instances: await statsOf(client, process.guid) }]
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return []
    throw error
  }
}

function showProcess(terminal: Context['terminal'], process: Process, instances: readonly InstanceStats[]): void {
  terminal.line()
  terminal.pairs([
    ['type', process.type],
    ['instances', `${instances.filter(({ state }) => state === 'RUNNING').length}/${instances.length}`],
    ['memory usage', `${process.memory_in_mb}M`],
  ])
  if (instances.length === 0) return terminal.line('There are no running instances of this process.')
  terminal.table(
    ['', 'state', 'since', 'cpu', 'memory', 'disk', 'logging', 'details', 'ready'],
    instances.map((each) => instanceRow(each)),
  )
}

function showDeployment(terminal: Context['terminal'], { strategy, status }: Deployment): void {
  terminal.line(`\nActive deployment with status ${status.reason}`)
  terminal.pairs([['strategy', strategy]])
}

function instanceRow(stats: InstanceStats): string[] {
  const { index, state, uptime, usage, mem_quota, disk_quota, log_rate_limit, details, routable } = stats
  const limit = (log_rate_limit ?? -1) < 0 ? 'unlimited' : `${formatSize(log_rate_limit ?? 0)}/s`
  return [
    `#${index}`,
    state.toLowerCase(),
    new Date(Date.now() - (uptime ?? 0) * 1000).toISOString().replace(/\.\d+Z$/, 'Z'),
    `${((usage?.cpu ?? 0) * 100).toFixed(1)}%`,
    `${formatSize(usage?.mem ?? 0)} of ${formatSize(mem_quota ?? 0)}`,
    `${formatSize(usage?.disk ?? 0)} of ${formatSize(disk_quota ?? 0)}`,
    `${formatSize(usage?.log_rate ?? 0)}/s of ${limit}`,
    details ?? '',
    routable === null || routable === undefined ? '-' : String(routable),
  ]
}

async function currentDroplet(client: Context['client'], appGuid: string): Promise<Droplet | undefined> {
  try {
    return await client.get<Droplet>(`/v3/apps/${appGuid}/droplets/current`)
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return undefined
    throw error
  }
}
