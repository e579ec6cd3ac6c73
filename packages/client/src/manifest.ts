import { readFile, stat } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { type Document, parseDocument, stringify } from 'yaml'
import { ClientError } from './errors.js'
import { keepLargeIntegers } from './large-integers.js'
import { interpolate, type Variables } from './manifest-variables.js'

/** One app of a manifest: CF's keys, unknown ones kept as they are. */
export type ManifestApp = Record<string, unknown> & { name?: string; path?: string; processes?: ManifestProcess[] }
export type ManifestProcess = Record<string, unknown> & { type?: string }
export interface Manifest {
  version?: number
  applications: ManifestApp[]
}

/** Flags of a push that have their place in the manifest. */
export interface ManifestFlags {
  readonly name?: string
  readonly path?: string
  readonly buildpacks?: readonly string[]
  readonly command?: string
  readonly instances?: number
  readonly memory?: string
  readonly disk?: string
  readonly logRate?: string
  readonly healthCheckType?: string
  readonly healthCheckEndpoint?: string
  readonly timeout?: number
  readonly stack?: string
  readonly noRoute?: boolean
  readonly randomRoute?: boolean
}

const MAX_ALIASES = 100

/** The manifest file that a push would take: the one named (a file, or the folder of one), else the folder's own. */
export async function findManifest(folder: string, named?: string): Promise<string | undefined> {
  const asked = named === undefined ? undefined : resolve(folder, named)
  const found = asked === undefined ? undefined : await stat(asked).catch(() => undefined)
  if (asked !== undefined && !found) throw new ClientError('bad-manifest', `There is no manifest at ${asked}.`)
  if (asked !== undefined && found?.isFile()) return asked
  for (const name of ['manifest.yml', 'manifest.yaml']) {
    const path = join(asked ?? folder, name)
    if ((await stat(path).catch(() => undefined))?.isFile()) return path
  }
  if (asked !== undefined) throw new ClientError('bad-manifest', `There is no manifest.yml in ${asked}.`)
  return undefined
}

/** Reads a manifest; paths in it are relative to it and come back absolute. */
export async function readManifest(path: string, variables: Variables = {}): Promise<Manifest> {
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    throw new ClientError('bad-manifest', `The manifest ${path} cannot be read.`, { cause: error })
  })
  const manifest = parseManifest(text, variables, path)
  for (const app of manifest.applications) if (typeof app.path === 'string') app.path = resolve(dirname(path), app.path)
  return manifest
}

/** Parses a manifest's text and fills in its ((variables)). */
export function parseManifest(text: string, variables: Variables = {}, name = 'manifest.yml'): Manifest {
  const document = parseDocument(text, { merge: true })
  const [fault] = document.errors
  if (fault) throw new ClientError('bad-manifest', `The manifest ${name} is not valid YAML: ${fault.message}`)
  keepLargeIntegers(document)
  const value = interpolate(plain(document, name), variables)
  if (!isRecord(value) || !Array.isArray(value['applications']) || value['applications'].length === 0)
    throw new ClientError('bad-manifest', `The manifest ${name} must have a list 'applications' with at least one app.`)
  const applications: unknown[] = value['applications']
  if (!applications.every(isRecord))
    throw new ClientError('bad-manifest', `Each of the 'applications' in ${name} must be a map of keys.`)
  return {
    ...(typeof value['version'] === 'number' ? { version: value['version'] } : {}),
    applications,
  }
}

function plain(document: Document, name: string): unknown {
  try {
    return document.toJS({ maxAliasCount: MAX_ALIASES }) as unknown
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new ClientError('bad-manifest', `The manifest ${name} cannot be read: ${reason}`, { cause: error })
  }
}

/** The manifest that a push sends: the file's apps, or one made up, with the flags laid over it as cf does. */
export function mergeFlags(manifest: Manifest | undefined, flags: ManifestFlags): Manifest {
  const apps = selectApps(manifest, flags.name)
  const overriding = Object.entries(flags).filter(([key, value]) => key !== 'name' && value !== undefined)
  if (apps.length > 1 && overriding.length > 0)
    throw new ClientError(
      'bad-argument',
      `These flags are for one app, and the manifest has ${apps.length}: ${overriding.map(([key]) => key).join(', ')}. Name the app to push.`,
    )
  for (const app of apps) {
    if (!app.name)
      throw new ClientError('bad-manifest', 'An app in the manifest has no name. Give each a name, or name the app to push.')
  }
  const unique = new Set(apps.map(({ name }) => name))
  if (unique.size < apps.length) throw new ClientError('bad-manifest', 'Two apps in the manifest have the same name.')
  return {
    ...(manifest?.version === undefined ? {} : { version: manifest.version }),
    applications: apps.map((app) => override(app, flags)),
  }
}

export const renderManifest = (manifest: Manifest): string => stringify(manifest, { aliasDuplicateObjects: false, lineWidth: 0 })

function selectApps(manifest: Manifest | undefined, name: string | undefined): ManifestApp[] {
  if (!manifest) {
    if (name === undefined) throw new ClientError('bad-argument', 'Name the app to push, or give a manifest.')
    return [{ name }]
  }
  const { applications } = manifest
  if (name === undefined) return applications
  if (applications.length === 1) return applications.map((app) => ({ ...app, name }))
  const chosen = applications.filter((app) => app.name === name)
  if (chosen.length === 0) {
    const known = applications.map((app) => app.name ?? '(unnamed)').join(', ')
    throw new ClientError('bad-manifest', `The manifest has no app named '${name}'; it has ${known}.`)
  }
  return chosen
}

function override(original: ManifestApp, flags: ManifestFlags): ManifestApp {
  const app: ManifestApp = {
    ...original,
    ...(original.processes ? { processes: original.processes.map((each) => ({ ...each })) } : {}),
  }
  const web = app.processes?.find(({ type }) => type === 'web')
  // What concerns the web process goes to its entry, where there is one.
  const target: Record<string, unknown> = web ?? app
  const set = (key: string, value: unknown, at: Record<string, unknown> = target): void => {
    if (value !== undefined) at[key] = value
  }
  set('path', flags.path, app)
  set('stack', flags.stack, app)
  set(web ? 'disk_quota' : 'disk-quota', flags.disk)
  if (flags.disk !== undefined) delete target[web ? 'disk-quota' : 'disk_quota']
  set('instances', flags.instances)
  set('memory', flags.memory)
  set('log-rate-limit-per-second', flags.logRate)
  set('timeout', flags.timeout)
  set('health-check-type', flags.healthCheckType)
  set('health-check-http-endpoint', flags.healthCheckEndpoint)
  if (flags.healthCheckType !== undefined && flags.healthCheckType !== 'http') delete target['health-check-http-endpoint']
  if (flags.command !== undefined) target['command'] = isDefault(flags.command) ? null : flags.command
  if (flags.buildpacks !== undefined) {
    app['buildpacks'] = flags.buildpacks.length === 1 && flags.buildpacks.every(isDefault) ? [] : [...flags.buildpacks]
    delete app['buildpack']
  }
  overrideRoutes(app, flags)
  return app
}

const isDefault = (value: string): boolean => value === 'null' || value === 'default'

function overrideRoutes(app: ManifestApp, flags: ManifestFlags): void {
  if (flags.noRoute) {
    app['no-route'] = true
    for (const key of ['routes', 'random-route', 'default-route']) delete app[key]
    return
  }
  if (flags.randomRoute && app['no-route'] !== true && app['routes'] === undefined) {
    app['random-route'] = true
    delete app['default-route']
  }
  if (app['no-route'] !== true && app['random-route'] !== true) app['default-route'] = true
}

export const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
