import {
  type App,
  ClientError,
  deploy,
  type Package,
  setCurrentDroplet,
  stageIfNeeded,
  stagePackage,
  waitUntilStarted,
} from '@bloomery/client'
import type { Context } from '../context.js'
import { showApp } from '../show-app.js'
import { showStagingLine, stagingOptions, startOptions } from '../waiting.js'
import { checkStrategy } from '../strategy.js'

export interface RestartFlags {
  readonly strategy?: string
  readonly maxInFlight?: number
}

export async function startApp(context: Context, name: string): Promise<void> {
  const app = await context.app(name)
  const { client, terminal } = context
  context.announce(`Starting app ${terminal.name(name)}`)
  if (app.state === 'STARTED') terminal.line(`App '${name}' is already started.\n`)
  else await bringUp(context, app, await stageIfNeeded(client, app.guid, staging(context)))
  await waitAndShow(context, app)
}

export async function stopApp(context: Context, name: string): Promise<void> {
  const app = await context.app(name)
  context.announce(`Stopping app ${context.terminal.name(name)}`)
  if (app.state === 'STOPPED') context.terminal.line(`App '${name}' is already stopped.`)
  else await context.client.post(`/v3/apps/${app.guid}/actions/stop`)
  context.terminal.ok()
}

export async function restartApp(context: Context, name: string, flags: RestartFlags): Promise<void> {
  const app = await context.app(name)
  context.announce(`Restarting app ${context.terminal.name(name)}`)
  await replace(context, app, await stageIfNeeded(context.client, app.guid, staging(context)), flags)
}

export async function restageApp(context: Context, name: string, flags: RestartFlags): Promise<void> {
  const app = await context.app(name)
  const { client, terminal } = context
  context.announce(`Restaging app ${terminal.name(name)}`)
  const ready = { app_guids: app.guid, order_by: '-created_at', states: 'READY' }
  const newest = await client.findOne<Package>('/v3/packages', ready)
  if (!newest) throw new ClientError('not-found', `App '${name}' has no package to stage. Push it first: bloom push ${name}`)
  terminal.line('Staging app and tracing logs...')
  const droplet = await stagePackage(client, app.guid, newest.guid, staging(context))
  await replace(context, app, droplet, flags)
}

const staging = (context: Context) => ({
  ...stagingOptions(context),
  onLine: (line: { readonly text: string }) => showStagingLine(context.terminal, line.text),
})

/** What runs is stopped only now that its successor is staged. */
async function replace(context: Context, app: App, dropletGuid: string | undefined, flags: RestartFlags): Promise<void> {
  const { client } = context
  const strategy = checkStrategy(flags)
  if (strategy === undefined) {
    if (app.state === 'STARTED') await client.post(`/v3/apps/${app.guid}/actions/stop`)
    await bringUp(context, app, dropletGuid)
  } else {
    context.terminal.line(`\nStarting ${strategy} deployment of app ${context.terminal.name(app.name)}...`)
    await deploy(client, app.guid, {
      strategy,
      ...(dropletGuid === undefined ? {} : { dropletGuid }),
      ...(flags.maxInFlight === undefined ? {} : { maxInFlight: flags.maxInFlight }),
      ...startOptions(context),
    })
  }
  await waitAndShow(context, app)
}

async function bringUp({ client }: Context, app: App, dropletGuid: string | undefined): Promise<void> {
  if (dropletGuid !== undefined) await setCurrentDroplet(client, app.guid, dropletGuid)
  await client.post(`/v3/apps/${app.guid}/actions/start`)
}

/** The summary tells of instances that crashed, too. */
export async function waitAndShow(context: Context, app: App): Promise<void> {
  context.terminal.line('Waiting for app to start...')
  try {
    await waitUntilStarted(context.client, app.guid, startOptions(context))
  } catch (error) {
    if (error instanceof ClientError && error.kind === 'start-failed') await showApp(context, { ...app, state: 'STARTED' })
    throw error
  }
  context.terminal.line()
  await showApp(context, { ...app, state: 'STARTED' })
}
