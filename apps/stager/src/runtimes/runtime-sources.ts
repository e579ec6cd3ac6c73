import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import semver from 'semver'
import { z } from 'zod'
import { chooseVersion, noSuchVersion, type Published, readRange } from './choose-version.js'
import { Downloads } from './downloads.js'
import { exactVersion, GomodClient, type GoSettings } from './gomod-source.js'
import type { Dependency, Source } from './manifest.js'
import { centralRepository } from './maven-settings.js'
import { MavenClient } from './maven-source.js'
import { NpmClient } from './npm-source.js'
import { PypiClient } from './pypi-source.js'
import type { Archive } from './source-client.js'
import { UrlClient } from './url-source.js'
import { VersionLists } from './version-lists.js'

const run = promisify(execFile)
const GoEnv = z.object({ GOPROXY: z.string().optional(), GOSUMDB: z.string().optional() })

/** A version that a buildpack says it can have without the platform: part of the stack, or a file that it carries. */
export interface Offer {
  readonly version: string
  readonly from: 'stack-image' | 'carried'
}

/** Who gives a dependency, and which version. */
export type Choice =
  | { readonly kind: 'offered'; readonly offer: Offer }
  | { readonly kind: 'source'; readonly source: Exclude<Source, { kind: 'stack-image' }>; readonly published: Published }

export interface RuntimeSourcesOptions {
  /** Folder for lists of versions. */
  readonly folder: string
  readonly architecture: string
  readonly proxies: Readonly<Record<'http' | 'https' | 'no', string | undefined>>
  /** Go's settings of the environment, for machines without Go. */
  readonly go: GoSettings
  /** Home folder of the user whose client settings count. */
  readonly home: string
}

/** All kinds of places that runtimes come from. */
export class RuntimeSources {
  readonly #downloads: Downloads
  readonly #npm: NpmClient
  readonly #pypi: PypiClient
  readonly #gomod: GomodClient
  readonly #maven: MavenClient
  readonly #url: UrlClient
  constructor(options: RuntimeSourcesOptions) {
    const { architecture } = options
    const lists = new VersionLists(options.folder)
    this.#downloads = new Downloads(options.proxies)
    this.#npm = new NpmClient(lists, architecture)
    this.#pypi = new PypiClient(lists, architecture)
    this.#gomod = new GomodClient(this.#downloads, architecture, () => goSettings(options.go))
    this.#maven = new MavenClient(lists, this.#downloads, () => centralRepository(options.home))
    this.#url = new UrlClient(this.#downloads, architecture)
  }

  /**
   * Every way to a version in the range, in the order of the sources; the next is looked for when the caller could do nothing with the one
   * before. Throws NoSuchVersion where there is none, with what there is and what could not be reached.
   */
  async *choices(dependency: Dependency, wanted: string, offered: readonly Offer[]): AsyncGenerator<Choice, void> {
    const range = readRange(dependency.name, wanted, dependency.aliases)
    const all: string[] = []
    const unreachable: string[] = []
    let found = false
    const offer = (from: Offer['from']): Choice | undefined => {
      const there = offered.filter((each) => each.from === from)
      all.push(...there.map(({ version }) => version))
      const published = chooseVersion(
        range,
        there.map(({ version }) => ({ version, name: version })),
      )
      found ||= published !== undefined
      return published && { kind: 'offered', offer: { version: published.version, from } }
    }
    const carried = offer('carried')
    if (carried) yield carried
    for (const source of dependency.sources) {
      if (source.kind === 'stack-image') {
        const inStack = offer('stack-image')
        if (inStack) yield inStack
        continue
      }
      let published: Published | undefined
      try {
        const versions = (await this.#versions(source)).filter(({ version }) => within(version, source.only))
        all.push(...versions.map(({ version }) => version))
        const exact = source.kind === 'gomod' ? exactVersion(range) : undefined
        published = chooseVersion(range, versions) ?? (exact && within(exact.version, source.only) ? exact : undefined)
      } catch (error) {
        unreachable.push(error instanceof Error ? error.message : String(error))
      }
      if (!published) continue
      found = true
      yield { kind: 'source', source, published }
    }
    if (!found) throw noSuchVersion(dependency.name, wanted, [...new Set(all)], unreachable)
  }

  async download(source: Exclude<Source, { kind: 'stack-image' }>, published: Published, folder: string): Promise<Archive> {
    switch (source.kind) {
      case 'npm':
        return this.#npm.download(source, published, folder)
      case 'pypi':
        return this.#pypi.download(source, published, folder)
      case 'gomod':
        return this.#gomod.download(source, published, folder)
      case 'maven':
        return this.#maven.download(source, published, folder)
      case 'url':
        return this.#url.download(source, published, folder)
    }
  }

  async close(): Promise<void> {
    await this.#downloads.close()
  }

  async #versions(source: Exclude<Source, { kind: 'stack-image' }>): Promise<readonly Published[]> {
    switch (source.kind) {
      case 'npm':
        return this.#npm.versions(source)
      case 'pypi':
        return this.#pypi.versions(source)
      case 'gomod':
        return this.#gomod.versions(source)
      case 'maven':
        return this.#maven.versions(source)
      case 'url':
        return this.#url.versions(source)
    }
  }
}

const within = (version: string, only: string | undefined): boolean => only === undefined || semver.satisfies(version, only)

/** What Go itself says, so that every file it reads counts; without Go, its variables. */
async function goSettings(given: GoSettings): Promise<GoSettings> {
  try {
    return GoEnv.parse(JSON.parse((await run('go', ['env', '-json', 'GOPROXY', 'GOSUMDB'], { timeout: 20_000 })).stdout))
  } catch {
    return given
  }
}
