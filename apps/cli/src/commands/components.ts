import type { Context } from '../context.js'

interface Found {
  readonly component: { readonly name: string; readonly version: string; readonly source: string }
  readonly droplet: { readonly guid: string; readonly current: boolean }
  readonly app: { readonly name: string }
  readonly space: { readonly name: string }
  readonly organization: { readonly name: string }
}

export async function listComponents(
  { client, terminal }: Context,
  name: string,
  flags: { readonly version?: string; readonly all?: boolean },
): Promise<void> {
  const { pagination, resources } = await client.get<{ pagination: { total_results: number }; resources: Found[] }>(
    '/bloomery/v1/components',
    { query: { name, version: flags.version ?? '*', all: flags.all ? 'true' : 'false' } },
  )
  if (resources.length === 0)
    return terminal.line(`No app that you may see has ${name}${flags.version === undefined ? '' : ` ${flags.version}`}.`)
  terminal.table(
    ['org', 'space', 'app', 'component', 'version', 'droplet', 'named by'],
    resources.map(({ organization, space, app, component, droplet }) => [
      organization.name,
      space.name,
      app.name,
      component.name,
      component.version,
      droplet.current ? 'current' : droplet.guid,
      component.source,
    ]),
  )
  if (pagination.total_results > resources.length) terminal.line(`… and ${pagination.total_results - resources.length} more`)
}

export async function billOfMaterials(context: Context, name: string): Promise<void> {
  const app = await context.app(name)
  const { guid } = await context.client.get<{ guid: string }>(`/v3/apps/${app.guid}/droplets/current`)
  context.terminal.line(JSON.stringify(await context.client.get(`/bloomery/v1/droplets/${guid}/bom`), null, 2))
}
