import {
  ApiError,
  type App,
  type Deployment,
  type Droplet,
  formatSize,
  type InstanceStats,
  processesOf,
  type Route,
  statsOf,
} from '@bloomery/client'
import type { Context } from './context.js'

/** The tail of push, start, restart and scale, and all of `bloom app`. */
export async function showApp({ client, terminal }: Context, app: App): Promise<void> {
  const [routes, droplet, processes, deployment] = await Promise.all([
    client.list<Route>(`/v3/apps/${app.guid}/routes`),
    currentDroplet(client, app.guid),
    processesOf(client, app.guid),
    client.findOne<Deployment>('/v3/deployments', { app_guids: app.guid, order_by: '-created_at', status_values: 'ACTIVE' }),
  ])
  terminal.pairs([
    ['name', app.name],
    ['requested state', app.state.toLowerCase()],
    ['routes', routes.map(({ url }) => url).join(', ')],
    ['last uploaded', droplet ? new Date(droplet.created_at).toString() : ''],
    ['stack', droplet?.stack ?? ''],
    ['buildpacks', (droplet?.buildpacks ?? []).map(describeBuildpack).join(', ')],
  ])
  if (deployment)
    terminal.line(`\nActive deployment with strategy ${deployment.strategy}: ${deployment.status.reason.toLowerCase()}`)
  const order = (type: string): string => (type === 'web' ? '' : type)
  for (const process of processes.sort((a, b) => (order(a.type) < order(b.type) ? -1 : 1))) {
    const stats = await statsOf(client, process.guid)
    terminal.line()
    terminal.pairs([
      ['type', process.type],
      ['instances', `${stats.filter(({ state }) => state === 'RUNNING').length}/${stats.length}`],
      ['memory usage', `${process.memory_in_mb}M`],
    ])
    if (stats.length === 0) terminal.line('There are no running instances of this process.')
    else
      terminal.table(
        ['', 'state', 'since', 'cpu', 'memory', 'disk', 'logging', 'details'],
        stats.map((each) => instanceRow(each)),
      )
  }
}

function instanceRow(stats: InstanceStats): string[] {
  const { index, state, uptime, usage, mem_quota, disk_quota, log_rate_limit, details } = stats
  const limit =
    log_rate_limit === null || log_rate_limit === undefined || log_rate_limit < 0
      ? 'unlimited'
      : `${formatSize(log_rate_limit)}/s`
  return [
    `#${index}`,
    state.toLowerCase(),
    new Date(Date.now() - (uptime ?? 0) * 1000).toISOString().replace(/\.\d+Z$/, 'Z'),
    `${((usage?.cpu ?? 0) * 100).toFixed(1)}%`,
    `${formatSize(usage?.mem ?? 0)} of ${formatSize(mem_quota ?? 0)}`,
    `${formatSize(usage?.disk ?? 0)} of ${formatSize(disk_quota ?? 0)}`,
    `${formatSize(usage?.log_rate ?? 0)}/s of ${limit}`,
    details ?? '',
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

const describeBuildpack = ({ name, version }: Droplet['buildpacks'][number]): string => (version ? `${name} ${version}` : name)
