import type { App, Process, Route } from '@bloomery/client'
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
        .sort(webFirst)
        .map(describeProcess)
        .join(', '),
      routes
        .filter(({ destinations }) => destinations.some((each) => each.app.guid === app.guid))
        .map(({ url }) => url)
        .join(', '),
    ]),
  )
}

const describeProcess = ({ type, process_instances: all = [] }: Process): string =>
  `${type}:${all.filter(({ state }) => state === 'RUNNING').length}/${all.length}`
const webFirst = (a: Process, b: Process): number =>
  Number(b.type === 'web') - Number(a.type === 'web') || (a.type < b.type ? -1 : 1)

export async function showAppCommand(context: Context, name: string, flags: { readonly guid?: boolean }): Promise<void> {
  const app = await context.app(name)
  if (flags.guid) return context.terminal.line(app.guid)
  context.announce(`Showing health and status for app ${context.terminal.name(name)}`)
  await showApp(context, app)
}
