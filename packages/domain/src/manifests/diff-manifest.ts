import { parseBytes, printBytes, toMebibytes } from './byte-units.js'
import { type Entries, isObject } from './entries.js'

export interface ManifestDifference {
  readonly op: 'add' | 'replace' | 'remove'
  /** Into the document as it was sent: /applications/0/memory. */
  readonly path: string
  readonly was?: unknown
  readonly value?: unknown
}

/** By what the elements of a list are recognised. Of these lists only what the manifest names is changed, so nothing is ever removed. */
const IDENTIFIERS: Readonly<Record<string, string>> = { processes: 'type', routes: 'route', sidecars: 'name', services: 'name' }
/** Merged when applied: what the manifest does not name stays. */
const MERGED = new Set(['env', 'metadata', 'features'])
/** The client's own business, or no property of an app. */
const IGNORED = new Set(['name', 'path', 'cnb-credentials', 'lifecycle'])
const ROUTE_WISHES = new Set(['default-route', 'random-route', 'no-route'])

/**
 * What applying a manifest would change. `sent`: its applications as they came; `existing`: for each the app as its own manifest
 * (with the web process's properties at the top level too), undefined for one that is not there yet.
 */
export function diffManifest(sent: readonly Entries[], existing: readonly (Entries | undefined)[]): ManifestDifference[] {
  return sent.flatMap((app, index) => {
    const present = existing[index]
    return Object.entries(app).flatMap(([key, value]) => {
      const name = key.replaceAll('_', '-')
      if (IGNORED.has(name) || value === undefined) return []
      const path = `/applications/${index}/${pointer(key)}`
      if (ROUTE_WISHES.has(name)) return diffRouteWish(path, name, value, present)
      if (name === 'buildpack') return diffValue(path, 'buildpacks', firstOf(present?.['buildpacks']), value)
      return diffValue(path, name, lookUp(present, name), value)
    })
  })
}

const pointer = (key: string): string => key.replaceAll('~', '~0').replaceAll('/', '~1')
const firstOf = (value: unknown): unknown => (Array.isArray(value) ? value[0] : value)
const lookUp = (present: Entries | undefined, name: string): unknown => present?.[name] ?? present?.[name.replaceAll('-', '_')]

/** They make or unmake routes only where there are none, or some. */
function diffRouteWish(path: string, name: string, value: unknown, present: Entries | undefined): ManifestDifference[] {
  const routes = present?.['routes']
  const hasRoutes = Array.isArray(routes) && routes.length > 0
  const matters = present === undefined || (name === 'no-route') === hasRoutes
  return value === true && matters ? [{ op: 'add', path, value }] : []
}

function diffValue(path: string, key: string, was: unknown, sent: unknown): ManifestDifference[] {
  const value = normalize(key, sent)
  if (isAbsent(was) && isAbsent(value)) return []
  if (isAbsent(was)) return [{ op: 'add', path, value }]
  if (isAbsent(value)) return key === 'command' || key === 'buildpacks' ? [{ op: 'replace', path, was, value: sent }] : []
  const identifier = IDENTIFIERS[key]
  if (Array.isArray(value) && Array.isArray(was))
    return identifier === undefined ? diffList(path, was, value) : diffNamed(path, key, identifier, was, value)
  if (isObject(value) && isObject(was)) return diffObject(path, key, was, value)
  return same(normalize(key, was), value) ? [] : [{ op: 'replace', path, was, value }]
}

const isAbsent = (value: unknown): boolean =>
  value === undefined || value === null || (Array.isArray(value) && value.length === 0)

function diffObject(path: string, key: string, was: Entries, value: Entries): ManifestDifference[] {
  const changed = Object.entries(value).flatMap(([name, each]) =>
    diffValue(
      `${path}/${pointer(name)}`,
      MERGED.has(key) || key === 'labels' || key === 'annotations' ? '' : name,
      lookUp(was, name),
      each,
    ),
  )
  return changed
}

function diffNamed(
  path: string,
  key: string,
  identifier: string,
  was: readonly unknown[],
  value: readonly unknown[],
): ManifestDifference[] {
  const nameOf = (entry: unknown): unknown => (isObject(entry) ? entry[identifier] : entry)
  return value.flatMap((entry, index) => {
    const present = was.find((each) => nameOf(each) === nameOf(entry))
    const at = `${path}/${index}`
    if (present === undefined) return [{ op: 'add', path: at, value: normalize(key, entry) } as const]
    return isObject(present) && isObject(entry) ? diffObject(at, key, present, entry) : []
  })
}

function diffList(path: string, was: readonly unknown[], value: readonly unknown[]): ManifestDifference[] {
  const differences: ManifestDifference[] = []
  for (let index = 0; index < Math.max(was.length, value.length); index++) {
    const at = `${path}/${index}`
    if (index >= value.length) differences.push({ op: 'remove', path: at, was: was[index] })
    else if (index >= was.length) differences.push({ op: 'add', path: at, value: value[index] })
    else if (!same(was[index], value[index])) differences.push({ op: 'replace', path: at, was: was[index], value: value[index] })
  }
  return differences
}

/** Values as they would be stored, so that 1G and 1024M do not differ. */
function normalize(key: string, value: unknown): unknown {
  const name = key.replaceAll('_', '-')
  if (value === null || value === undefined) return value
  if (name === 'memory' || name === 'disk-quota') {
    const parsed = parseBytes(value)
    return 'bytes' in parsed ? `${toMebibytes(parsed.bytes)}M` : value
  }
  if (name === 'log-rate-limit-per-second') {
    const parsed = parseBytes(value)
    if (String(value) === '-1' || String(value) === '0') return Number(value)
    return 'bytes' in parsed ? printBytes(parsed.bytes) : value
  }
  if (name.endsWith('health-check-type') && value === 'none') return 'process'
  return value
}

const same = (a: unknown, b: unknown): boolean =>
  typeof a === 'object' || typeof b === 'object' ? JSON.stringify(a) === JSON.stringify(b) : String(a) === String(b)
