import { ClientError, formatSize, parseLogRate, parseSize } from '@bloomery/client'
import {
  findManifest,
  type ManifestFlags,
  mergeFlags,
  push,
  type PushEvent,
  type PushProgress,
  readManifest,
  readVariables,
} from '@bloomery/client/push'
import { resolve } from 'node:path'
import type { Context } from '../context.js'
import { showApp } from '../show-app.js'
import { checkStrategy } from '../strategy.js'
import { instanceTeller, showStagingLine, stagingOptions, startOptions } from '../waiting.js'

export interface PushFlags {
  readonly manifest?: string
  readonly noManifest?: boolean
  readonly var?: readonly string[]
  readonly varsFile?: readonly string[]
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
  readonly noStart?: boolean
  readonly noRoute?: boolean
  readonly randomRoute?: boolean
  readonly strategy?: string
  readonly maxInFlight?: number
}

export async function pushCommand(context: Context, name: string | undefined, flags: PushFlags): Promise<void> {
  const { client, space, surroundings, terminal } = context
  const { cwd } = surroundings
  const strategy = check(flags)
  const variables = await readVariables(
    (flags.varsFile ?? []).map((file) => resolve(cwd, file)),
    flags.var ?? [],
  )
  const path = flags.noManifest ? undefined : await findManifest(cwd, flags.manifest)
  const file = path === undefined ? undefined : await readManifest(path, variables)
  const manifest = mergeFlags(file, manifestFlags(cwd, name, flags))
  const names = manifest.applications.map((app) => String(app.name))
  context.announce(`Pushing ${names.length > 1 ? 'apps' : 'app'} ${names.map((each) => terminal.name(each)).join(', ')}`)
  if (path !== undefined) terminal.line(`Using manifest file ${path}`)
  const { timeoutMs: stagingTimeoutMs } = stagingOptions(context)
  const { timeoutMs: startTimeoutMs } = startOptions(context)
  const reporter = createReporter(context)
  try {
    await push(client, {
      spaceGuid: space.guid,
      manifest,
      folder: cwd,
      noStart: flags.noStart === true,
      ...(strategy === undefined ? {} : { strategy }),
      ...(flags.maxInFlight === undefined ? {} : { maxInFlight: flags.maxInFlight }),
      ...(stagingTimeoutMs === undefined ? {} : { stagingTimeoutMs }),
      ...(startTimeoutMs === undefined ? {} : { startTimeoutMs }),
      onEvent: reporter.onEvent,
      onProgress: reporter.onProgress,
    })
  } catch (error) {
    // What crashed is in the summary.
    const crashed = error instanceof ClientError && error.kind === 'start-failed' ? reporter.app() : undefined
    if (crashed !== undefined) {
      terminal.line()
      await showApp(context, await context.app(crashed))
      terminal.warn(`\nTIP: use 'bloom logs ${crashed} --recent' for more information`)
    }
    throw error
  }
  for (const each of names) {
    terminal.line()
    await showApp(context, await context.app(each))
  }
}

/** Refuses what contradicts itself before anything is sent; gives the strategy. */
function check(flags: PushFlags): string | undefined {
  const strategy = checkStrategy(flags)
  const exclude = (one: boolean, another: boolean, which: string): void => {
    if (one && another) throw new ClientError('bad-argument', `${which} exclude one another; give one of them.`)
  }
  exclude(flags.noRoute === true, flags.randomRoute === true, '--no-route and --random-route')
  exclude(flags.noManifest === true, flags.manifest !== undefined, '--no-manifest and -f')
  exclude(flags.noStart === true, strategy !== undefined, '--no-start and --strategy')
  for (const size of [flags.memory, flags.disk]) if (size !== undefined) parseSize(size)
  if (flags.logRateLimit !== undefined) parseLogRate(flags.logRateLimit)
  const { healthCheckType: type } = flags
  if (type !== undefined && !['port', 'http', 'process', 'none'].includes(type))
    throw new ClientError('bad-argument', `'${type}' is no type of health check; -u takes port, http or process.`)
  if (flags.endpoint !== undefined && type !== undefined && type !== 'http')
    throw new ClientError('bad-argument', `--endpoint is for health checks of type http, not ${type}.`)
  return strategy
}

function createReporter({ terminal }: Context) {
  let current: string | undefined
  let toSend = 0
  const tellInstances = instanceTeller(terminal)
  const onEvent = (event: PushEvent): void => {
    if (event.kind !== 'applying-manifest') current = event.app
    switch (event.kind) {
      case 'applying-manifest':
        return terminal.line('Applying manifest...')
      case 'uploading':
        return terminal.line(`Packaging files of ${event.source} to upload...`)
      case 'upload': {
        const { files, matched, bytesToSend } = event.report
        toSend = bytesToSend
        const known = matched > 0 ? `; the server has ${matched} of them already` : ''
        return terminal.line(
          `Uploading ${files} ${files === 1 ? 'file' : 'files'}, ${formatSize(bytesToSend)} to send${known}...`,
        )
      }
      case 'staging':
        return terminal.line('\nStaging app and tracing logs...')
      case 'staging-line':
        return showStagingLine(terminal, event.line.text)
      case 'starting':
        return terminal.line(`\nWaiting for app ${terminal.name(event.app)} to start...\n`)
      case 'deploying':
        return terminal.line(`\nStarting ${event.strategy} deployment of app ${terminal.name(event.app)}...\n`)
      case 'done':
        return
    }
  }
  return {
    onEvent,
    /** The app under way. */
    app: () => current,
    onProgress: (progress: PushProgress): void => {
      if (progress.kind === 'instances') return tellInstances(progress.processType, progress.instances)
      terminal.progress(`   ${formatSize(progress.bytes)} sent, packed, of ${formatSize(toSend)}`)
    },
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
    ...(flags.noRoute ? { noRoute: true } : {}),
    ...(flags.randomRoute ? { randomRoute: true } : {}),
  }
}
