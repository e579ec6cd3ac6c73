import { variableFaults } from '../environment/variable-rules.js'
import { dashed, type Entries, isObject } from './entries.js'
import type { AppManifest, ManifestMetadata, ManifestRoute, ManifestService, ParsedManifest } from './manifest.js'
import { parseProcesses } from './parse-processes.js'

/** Checks a manifest as YAML gave it, and brings it into one form. All problems are told at once, each with the application's name. */
export function parseManifest(document: unknown): ParsedManifest {
  if (!isObject(document)) return { apps: [], faults: ['The manifest must be a mapping with a list of applications.'] }
  const { version, applications } = document
  if (version !== undefined && version !== null && version !== 1)
    return { apps: [], faults: ['Unsupported manifest schema version. Currently supported versions: [1].'] }
  if (!Array.isArray(applications) || applications.length === 0)
    return { apps: [], faults: ["Cannot parse manifest with no 'applications' field."] }
  const faults: string[] = []
  const apps = applications.flatMap((entry: unknown, index) => {
    const found: string[] = []
    const app = parseApp(entry, (fault) => found.push(fault))
    const name = isObject(entry) ? entry['name'] : undefined
    const prefix = typeof name === 'string' && name !== '' ? `For application '${name}': ` : `For application at index ${index}: `
    faults.push(...found.map((fault) => prefix + fault))
    return app && found.length === 0 ? [app] : []
  })
  const names = apps.map(({ name }) => name.toLowerCase())
  for (const app of apps.filter((_each, index) => names.indexOf(names[index] ?? '') < index))
    faults.push(`For application '${app.name}': the manifest names it more than once`)
  return { apps, faults }
}

type Complain = (fault: string) => void

function parseApp(entry: unknown, complain: Complain): AppManifest | undefined {
  if (!isObject(entry)) {
    complain('must be a mapping of properties')
    return undefined
  }
  const app = dashed(entry)
  const { name } = app
  if (typeof name !== 'string' || name.trim() === '') complain('Name must not be empty')
  else if (name.length > 255) complain('Name is too long (maximum is 255 characters)')
  else if (/\p{Cc}/u.test(name)) complain('Name must not contain control characters')
  refuseOtherLifecycles(app, complain)
  const buildpacks = parseBuildpacks(app, complain)
  const stack = parseStack(app['stack'], complain)
  const env = parseEnv(app['env'], complain)
  const metadata = parseMetadata(app['metadata'], complain)
  const routes = parseRoutes(app, complain)
  return {
    name: typeof name === 'string' ? name : '',
    ...(buildpacks ? { buildpacks } : {}),
    ...(stack === undefined ? {} : { stack }),
    ...(env ? { env } : {}),
    ...(metadata ? { metadata } : {}),
    noRoute: flag(app, 'no-route', 'No-route', complain),
    randomRoute: flag(app, 'random-route', 'Random-route', complain),
    defaultRoute: flag(app, 'default-route', 'Default-route', complain),
    ...(routes ? { routes } : {}),
    services: parseServices(app['services'], complain),
    processes: parseProcesses(app, complain),
    sidecars: parseSidecars(app['sidecars'], complain),
    features: parseFeatures(app['features'], complain),
  }
}

function refuseOtherLifecycles(app: Entries, complain: Complain): void {
  const { lifecycle, docker } = app
  if (docker !== undefined && docker !== null)
    complain('Docker images cannot be run by this platform; push the source, and a buildpack makes a droplet of it')
  if (lifecycle === 'cnb' || lifecycle === 'docker')
    complain(`The lifecycle '${lifecycle}' is not available on this platform; leave it out, or use 'buildpack'`)
  else if (lifecycle !== undefined && lifecycle !== null && lifecycle !== 'buildpack')
    complain("Lifecycle must be 'buildpack', 'docker' or 'cnb'")
}

const isDetection = (name: unknown): boolean => name === null || name === 'default' || name === 'null'

function parseBuildpacks(app: Entries, complain: Complain): string[] | undefined {
  const { buildpack, buildpacks } = app
  if (buildpack !== undefined && buildpacks !== undefined) complain('Buildpack and Buildpacks fields cannot be used together.')
  if (buildpacks !== undefined) {
    if (buildpacks === null) return []
    if (!Array.isArray(buildpacks) || buildpacks.some((each) => typeof each !== 'string' || each === '')) {
      complain('Buildpacks must be a list of names and addresses')
      return undefined
    }
    return (buildpacks as string[]).filter((each) => !isDetection(each))
  }
  if (buildpack === undefined) return undefined
  if (isDetection(buildpack)) return []
  if (typeof buildpack === 'string' && buildpack !== '') return [buildpack]
  complain('Buildpack must be a string')
  return undefined
}

function parseStack(stack: unknown, complain: Complain): string | undefined {
  if (stack === undefined || stack === null) return undefined
  if (typeof stack === 'string' && stack !== '') return stack
  complain('Stack must be a string')
  return undefined
}

function parseEnv(env: unknown, complain: Complain): Record<string, string> | undefined {
  if (env === undefined || env === null) return undefined
  if (!isObject(env)) {
    complain('Env must be an object of keys and values')
    return undefined
  }
  // YAML knows numbers and truth values, the environment only strings.
  const variables = Object.fromEntries(
    Object.entries(env).map(([key, value]) => [
      key,
      value === null ? '' : typeof value === 'object' ? JSON.stringify(value) : String(value),
    ]),
  )
  for (const fault of variableFaults(variables)) complain(`Env ${fault}`)
  return variables
}

function parseMetadata(metadata: unknown, complain: Complain): ManifestMetadata | undefined {
  if (metadata === undefined || metadata === null) return undefined
  if (!isObject(metadata)) {
    complain('Metadata must be an object')
    return undefined
  }
  const entries = (kind: 'labels' | 'annotations') => {
    const given = metadata[kind]
    if (given === undefined || given === null) return {}
    if (!isObject(given)) {
      complain(`Metadata ${kind} must be an object`)
      return {}
    }
    return {
      [kind]: Object.fromEntries(
        Object.entries(given).map(([key, value]) => [key, value === null ? null : String(value as string | number)]),
      ),
    }
  }
  return { ...entries('labels'), ...entries('annotations') }
}

function flag(app: Entries, key: string, label: string, complain: Complain): boolean {
  const value = app[key]
  if (value === undefined || value === null || value === false) return false
  if (value !== true) complain(`${label} must be a boolean`)
  return value === true
}

const PROTOCOLS = ['http1', 'http2', 'tcp'] as const

function parseRoutes(app: Entries, complain: Complain): ManifestRoute[] | undefined {
  const { routes } = app
  const wishes = ['no-route', 'random-route', 'default-route'].filter((key) => app[key] === true)
  if (wishes.includes('no-route') && wishes.includes('random-route'))
    complain('Cannot use the combination of properties: no-route: true, random-route: true')
  if (routes === undefined || routes === null) return undefined
  if (!Array.isArray(routes)) {
    complain('Routes must be a list of route objects')
    return undefined
  }
  if (wishes.includes('no-route') && routes.length > 0)
    complain('Cannot use the combination of properties: no-route: true, routes: [...]')
  return routes.flatMap((entry: unknown) => {
    const route = typeof entry === 'string' ? { route: entry } : isObject(entry) ? entry : {}
    const { route: address, protocol, options } = route
    if (typeof address !== 'string' || address.trim() === '') {
      complain("Routes must be a list of objects with a 'route' key, such as '- route: example.com'")
      return []
    }
    if (!/^(?:https?:\/\/|tcp:\/\/)?(?:\*\.)?[\w-]+(?:\.[\w-]+)*(?::\d+)?(?:\/\S*)?$/i.test(address))
      complain(`The route '${address}' is not a properly formed URL`)
    const known = PROTOCOLS.find((each) => each === protocol)
    if (protocol !== undefined && protocol !== null && !known) complain(`Route protocol must be 'http1', 'http2' or 'tcp'.`)
    const given = isObject(options) ? (options as Record<string, string | number | null>) : undefined
    if (options !== undefined && options !== null && !given) complain(`Route '${address}': options must be an object`)
    return [
      {
        route: address.replace(/^(?:https?|tcp):\/\//i, ''),
        ...(known ? { protocol: known } : {}),
        ...(given ? { options: given } : {}),
      },
    ]
  })
}

function parseServices(services: unknown, complain: Complain): ManifestService[] {
  if (services === undefined || services === null) return []
  const read = Array.isArray(services) ? services.map(parseService) : [undefined]
  if (read.includes(undefined))
    complain(
      'Services must be a list of service instances: each its name, or an object with name and, if wanted, binding_name (a string) and parameters (an object)',
    )
  return read.flatMap((service) => service ?? [])
}

const SERVICE_KEYS = new Set(['name', 'binding-name', 'parameters'])

function parseService(entry: unknown): ManifestService | undefined {
  const service = typeof entry === 'string' ? { name: entry } : isObject(entry) ? dashed(entry) : {}
  const { name, parameters = {}, 'binding-name': bindingName = '' } = service
  if (typeof name !== 'string' || name === '' || Object.keys(service).some((key) => !SERVICE_KEYS.has(key))) return undefined
  if (typeof bindingName !== 'string' || !(isObject(parameters) || parameters === null)) return undefined
  return {
    name,
    ...(bindingName === '' ? {} : { bindingName }),
    ...(isObject(service['parameters']) ? { parameters: service['parameters'] } : {}),
  }
}

function parseSidecars(sidecars: unknown, complain: Complain): string[] {
  if (sidecars === undefined || sidecars === null) return []
  if (!Array.isArray(sidecars)) {
    complain('Sidecars must be an array of sidecar configurations')
    return []
  }
  return sidecars.map((entry: unknown, index) => {
    const name = isObject(entry) ? entry['name'] : undefined
    return typeof name === 'string' ? name : `#${index}`
  })
}

const FEATURES = new Set(['ssh', 'revisions', 'service-binding-k8s', 'file-based-vcap-services'])

function parseFeatures(features: unknown, complain: Complain): Record<string, boolean> {
  if (features === undefined || features === null) return {}
  if (!isObject(features)) {
    complain('Features must be a map of valid feature names to booleans (true = enabled, false = disabled)')
    return {}
  }
  const entries = Object.entries(features)
  for (const [name, value] of entries) {
    if (!FEATURES.has(name)) complain(`Features contains unsupported features: ${name}`)
    if (typeof value !== 'boolean')
      complain('Features must be a map of valid feature names to booleans (true = enabled, false = disabled)')
  }
  return Object.fromEntries(entries.filter((entry): entry is [string, boolean] => typeof entry[1] === 'boolean'))
}
