import { createHash } from 'node:crypto'
import { basename } from 'node:path'
import type { AnsweredRuntime } from './workspace.js'

/** What a droplet was made of, as it is kept with it and shown to people. Checksums carry their kind: `sha256:…`. */
export interface DropletInputs {
  readonly bits: { readonly content: string; readonly archive: string | null }
  readonly buildpacks: readonly BuildpackInput[]
  readonly runtimes: readonly RuntimeInput[]
  readonly stack: { readonly name: string; readonly image: string; readonly digest: string }
  readonly lock_files: readonly { readonly path: string; readonly checksum: string }[]
}

interface BuildpackInput {
  readonly name: string
  readonly version: string | null
  /** Of its files: content, or the commit where it came from git. */
  readonly checksum: string | null
}

export interface RuntimeInput {
  readonly name: string
  readonly version: string
  readonly checksum: string | null
}

interface Settings {
  /** In their order: what each is called, and the folder of its files, which is named by their content. */
  readonly buildpacks: readonly { readonly key: string; readonly source: string }[]
  readonly skipDetect: boolean
  readonly stack: string
  readonly imageDigest: string
  readonly lifecycle: string
  readonly environment: Readonly<Record<string, string>>
  readonly cachesClearedAt: Date | undefined
}

/** One checksum (hex) for all that staging depends on besides the pushed files. */
export function settingsDigest(settings: Settings): string {
  const { buildpacks, skipDetect, stack, imageDigest, lifecycle, environment, cachesClearedAt } = settings
  const said = [
    'settings 1',
    ...buildpacks.map(({ key, source }) => ['buildpack', key, basename(source)]),
    skipDetect,
    stack,
    imageDigest,
    basename(lifecycle),
    cachesClearedAt?.toISOString() ?? null,
    Object.entries(environment)
      .map(([name, value]) => [name, name === 'VCAP_APPLICATION' ? withoutVersion(value) : value] as const)
      .sort(([a], [b]) => (a < b ? -1 : 1)),
  ]
  return createHash('sha256').update(JSON.stringify(said)).digest('hex')
}

/** Each build gets a version of its own in there, which says nothing about the app. */
function withoutVersion(text: string): unknown {
  try {
    const found = JSON.parse(text) as Record<string, unknown>
    return { ...found, version: null, application_version: null }
  } catch {
    return text // a group may have set it to anything
  }
}

/** The runtimes that buildpacks were given, by the names of their folders in the store, which begin with their own. */
export function runtimeInputs(answered: readonly AnsweredRuntime[]): RuntimeInput[] {
  const found = new Map<string, RuntimeInput>()
  for (const { path, version, checksum } of answered) {
    const folder = basename(path)
    const end = folder.indexOf(`-${version}`)
    const name = end > 0 ? folder.slice(0, end) : folder
    found.set(`${name} ${version}`, { name, version, checksum: checksum ?? null })
  }
  return [...found.values()].sort((a, b) => (`${a.name} ${a.version}` < `${b.name} ${b.version}` ? -1 : 1))
}
