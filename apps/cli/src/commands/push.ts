import {
  ClientError,
  findManifest,
  formatSize,
  type ManifestFlags,
  mergeFlags,
  parseSize,
  push,
  type PushEvent,
  readManifest,
  readVariables,
} from '@bloomery/client'
import { resolve } from 'node:path'
import type { Context } from '../context.js'
import { showApp } from '../show-app.js'

export interface PushFlags {
  readonly manifestFile?: string
  /** False for --no-manifest. */
  readonly manifest: boolean
  readonly path?: string
  readonly buildpack?: readonly string[]
  readonly command?: string
  readonly instances?: number
  readonly memory?: string
  readonly disk?: string
  readonly logRateLimit?: string
  readonly healthCheckType?: string
  readonly endpoint?: string
  readonly appStartTimeout?: number
  readonly stack?: string
  /** False for --no-start. */
  readonly start: boolean
  /** False for --no-route. */
  readonly route: boolean
  readonly randomRoute?: boolean
  readonly var?: readonly string[]
  readonly varsFile?: readonly string[]
  readonly strategy?: string
  readonly maxInFlight?: number
}

export async function pushCommand(context: Context, name: string | undefined, flags: PushFlags): Promise<void> {
  const { cwd, terminal } = context
  if (!flags.route && flags.randomRoute)
    throw new ClientError('bad-argument', '--no-route and --random-route exclude one another.')
  for (const size of [flags.memory, flags.disk]) if (size !== undefined) parseSize(size)
  const variables = await readVariables(
    (flags.varsFile ?? []).map((file) => resolve(cwd, file)),
    flags.var ?? [],
  )
  const path = flags.manifest ? await findManifest(cwd, flags.manifestFile) : undefined
  const file = path === undefined ? undefined : await readManifest(path, variables)
  const manifest = mergeFlags(file, manifestFlags(cwd, name, flags))
  const names = manifest.applications.map((app) => terminal.name(String(app.name))).join(', ')
  context.announce(`Pushing ${manifest.applications.length > 1 ? 'apps' : 'app'} ${names}`)
  if (path !== undefined) terminal.line(`Using manifest file ${path}`)
  await push(context.client, {
    spaceGuid: context.space.guid,
    manifest,
    folder: cwd,
    noStart: !flags.start,
    ...(flags.strategy === undefined ? {} : { strategy: flags.strategy }),
    ...(flags.maxInFlight === undefined ? {} : { maxInFlight: flags.maxInFlight }),
    onEvent: (event) => report(context, event),
  })
  for (const app of manifest.applications) {
    terminal.line()
    await showApp(context, await context.app(String(app.name)))
  }
}

function report({ terminal }: Context, event: PushEvent): void {
  switch (event.kind) {
    case 'applying-manifest':
      return terminal.line('Applying manifest...')
    case 'uploading':
      return terminal.line(`Packaging ${event.source} of ${terminal.name(event.app)}...`)
    case 'upload': {
      const { files, matched, bytesToSend } = event.report
      const known = matched > 0 ? `; ${matched} are known to the server` : ''
      return terminal.line(`Uploading ${files} files, ${formatSize(bytesToSend)} to send${known}...`)
    }
    case 'staging':
      return terminal.line('\nStaging app and tracing logs...')
    case 'staging-line':
      return terminal.line(`   ${event.line.text}`)
    case 'starting':
      return terminal.line(`\nStarting app ${terminal.name(event.app)}...`)
    case 'deploying':
      return terminal.line(`\nStarting ${event.strategy} deployment of app ${terminal.name(event.app)}...`)
    case 'done':
      return
  }
}

/** Only flags that were given: their absence leaves the manifest as it is. */
function manifestFlags(cwd: string, name: string | undefined, flags: PushFlags): ManifestFlags {
  return {
    ...(name === undefined ? {} : { name }),
    ...(flags.path === undefined ? {} : { path: resolve(cwd, flags.path) }),
    ...(flags.buildpack === undefined ? {} : { buildpacks: flags.buildpack }),
    ...(flags.command === undefined ? {} : { command: flags.command }),
    ...(flags.instances === undefined ? {} : { instances: flags.instances }),
    ...(flags.memory === undefined ? {} : { memory: flags.memory }),
    ...(flags.disk === undefined ? {} : { disk: flags.disk }),
    ...(flags.logRateLimit === undefined ? {} : { logRate: flags.logRateLimit }),
    ...(flags.healthCheckType === undefined ? {} : { healthCheckType: flags.healthCheckType }),
    ...(flags.endpoint === undefined ? {} : { healthCheckEndpoint: flags.endpoint }),
    ...(flags.appStartTimeout === undefined ? {} : { timeout: flags.appStartTimeout }),
    ...(flags.stack === undefined ? {} : { stack: flags.stack }),
    ...(flags.route ? {} : { noRoute: true }),
    ...(flags.randomRoute ? { randomRoute: true } : {}),
  }
}
