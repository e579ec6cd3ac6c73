import { readFile } from 'node:fs/promises'
import { parse } from 'yaml'
import { z } from 'zod'

const Inside = z.string().regex(/^(?!\.\.)[\w.@+-]+(\/(?!\.\.)[\w.@+-]+)*$/)
/** One text, or one per architecture as Node calls it (x64, arm64). */
const PerArchitecture = z.union([z.string(), z.record(z.string(), z.string())])
const Common = {
  /** Folder of the archive that is the runtime; a single top folder where nothing is said. */
  root: Inside.optional(),
  /** Programs that the archive has lost the mode of; `folder/*` names all files of a folder. */
  executable: z.array(z.string().regex(/^(?!\.\.)[\w.@+-]+(\/(?!\.\.)[\w.@+*-]+)*$/)).default([]),
  /** Of these versions alone, as a range. */
  only: z.string().optional(),
}

const NpmSource = z.object({ kind: z.literal('npm'), package: PerArchitecture, ...Common })
const PypiSource = z.object({ kind: z.literal('pypi'), package: PerArchitecture, ...Common })
const GomodSource = z.object({
  kind: z.literal('gomod'),
  module: z.string(),
  /** The module's version by the runtime's: `{version}` and `{arch}` are filled in. */
  moduleVersion: z.string(),
  arch: z.record(z.string(), z.string()),
  /** Its proxy does not list them. Others may be asked for exactly. */
  versions: z.array(z.string()),
  ...Common,
})
const MavenSource = z.object({
  kind: z.literal('maven'),
  group: z.string(),
  artifact: z.string(),
  classifier: z.string().optional(),
  type: z.enum(['tar.gz', 'zip']),
  ...Common,
})
/** Part of the stack: the buildpack itself says which version it found there. */
const StackSource = z.object({ kind: z.literal('stack-image'), ...Common })
const UrlSource = z.object({
  kind: z.literal('url'),
  /** `{version}` and `{arch}` are filled in. */
  uri: z.string(),
  type: z.enum(['tar.gz', 'zip']),
  arch: z.record(z.string(), z.string()).default({}),
  /** Checksum (sha256 or sha512, hexadecimal) by version, and by architecture where they differ. */
  versions: z.record(z.string(), PerArchitecture).optional(),
  /** A vendor's list of releases in JSON, in place of `versions`: where in it versions, files and checksums stand. */
  index: z
    .object({
      uri: z.string(),
      /** Field names from the top to each list, `*` for all elements. */
      releases: z.array(z.string()),
      version: z.string(),
      files: z.array(z.string()),
      name: z.string(),
      address: z.string(),
      checksum: z.string(),
      /** Which of a release's files. */
      file: z.string(),
    })
    .optional(),
  ...Common,
})
export type NpmSource = z.infer<typeof NpmSource>
export type PypiSource = z.infer<typeof PypiSource>
export type GomodSource = z.infer<typeof GomodSource>
export type MavenSource = z.infer<typeof MavenSource>
export type UrlSource = z.infer<typeof UrlSource>
const Source = z.discriminatedUnion('kind', [NpmSource, PypiSource, GomodSource, MavenSource, StackSource, UrlSource])
export type Source = z.infer<typeof Source>

/** What the scripts of a system buildpack may ask the platform for. */
const Dependency = z.object({
  name: z.string(),
  /** Where it may come from; the first that has a version in the wished range gives it. */
  sources: z.array(Source).min(1),
  /** What of it goes into droplets; all of it where nothing is said. */
  droplet: z.array(Inside).optional(),
  /** What may be said instead of a range. */
  aliases: z.record(z.string(), z.string()).default({}),
})
export type Dependency = z.infer<typeof Dependency>
const Manifest = z.object({ dependencies: z.array(Dependency).default([]) })

export async function readDependencies(path: string): Promise<readonly Dependency[]> {
  return Manifest.parse(parse(await readFile(path, 'utf8'))).dependencies
}

/** The text for an architecture. */
export function forArchitecture(found: string | Readonly<Record<string, string>> | undefined, architecture: string): string {
  const chosen = typeof found === 'string' ? found : found?.[architecture]
  if (chosen === undefined) throw new Error(`it is not offered for the architecture ${architecture}`)
  return chosen
}
