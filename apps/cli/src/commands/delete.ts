import { ApiError, ClientError, type Route } from '@bloomery/client'
import type { Context } from '../context.js'

export async function deleteApp(
  context: Context,
  name: string,
  flags: { readonly force?: boolean; readonly routes?: boolean },
): Promise<void> {
  const { client, terminal } = context
  if (!flags.force) {
    const what = flags.routes ? `the app ${name} and its routes` : `the app ${name}`
    if (!(await terminal.confirm(`Really delete ${what}?`, '-f'))) return terminal.line('Delete cancelled')
  }
  const app = await context.findApp(name)
  context.announce(`Deleting app ${terminal.name(name)}`)
  if (!app) {
    terminal.warn(`App '${name}' does not exist.`)
    return terminal.ok()
  }
  const routes = flags.routes ? await client.list<Route>(`/v3/apps/${app.guid}/routes`) : []
  const shared = routes.find(({ destinations }) => destinations.some((each) => each.app.guid !== app.guid))
  if (shared)
    throw new ClientError('bad-argument', `Route ${shared.url} also leads to another app. Unmap it first, or delete without -r.`)
  await client.complete('DELETE', `/v3/apps/${app.guid}`)
  for (const { guid } of routes) {
    // Whoever else deletes it spares us the work.
    await client.complete('DELETE', `/v3/routes/${guid}`).catch((error: unknown) => {
      if (!(error instanceof ApiError && error.status === 404)) throw error
    })
  }
  terminal.ok()
}
