import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { visitZip } from '@bloomery/archives'
import semver from 'semver'
import { type Published, publishedVersions } from './choose-version.js'
import { DownloadError, type Downloads } from './downloads.js'
import { forArchitecture, type GomodSource } from './manifest.js'
import type { Archive, SourceClient } from './source-client.js'

const LIMITS = { maxEntries: 100_000, maxBytes: 2 * 1024 ** 3, maxRatio: 500 }

/** As `go env` has them. */
export interface GoSettings {
  readonly GOPROXY?: string | undefined
  readonly GOSUMDB?: string | undefined
}

/**
 * Modules from the proxies that this machine's Go is set up for, checked against its checksum database by way of the proxy, as Go does it
 * itself.
 */
export class GomodClient implements SourceClient<GomodSource> {
  constructor(
    private readonly downloads: Downloads,
    private readonly architecture: string,
    private readonly settings: () => Promise<GoSettings>,
  ) {}

  async versions(source: GomodSource): Promise<readonly Published[]> {
    await this.#proxies()
    return publishedVersions(source.versions)
  }

  async download(source: GomodSource, { name }: Published, folder: string): Promise<Archive> {
    const arch = forArchitecture(source.arch, this.architecture)
    const version = source.moduleVersion.replaceAll('{version}', name).replaceAll('{arch}', arch)
    const path = join(folder, 'module.zip')
    const reasons: string[] = []
    for (const { proxy, onAnyError } of await this.#proxies())
      try {
        await this.downloads.file(`${proxy}/${escaped(source.module)}/@v/${escaped(version)}.zip`, path)
        const checksum = await hashOfZip(path)
        await this.#verify(proxy, source.module, version, checksum)
        return { path, format: 'zip', checksum, root: `${source.module}@${version}` }
      } catch (error) {
        if (!(error instanceof DownloadError)) throw error
        reasons.push(error.message)
        if (!onAnyError && error.status !== 404 && error.status !== 410) break
      }
    throw new Error(`${source.module} ${version} could not be downloaded: ${reasons.join('; ')}`)
  }

  /** GOPROXY: `,` goes on where the module is not there, `|` after any failure. `direct` is for repositories, which toolchains have none of. */
  async #proxies(): Promise<{ proxy: string; onAnyError: boolean }[]> {
    const { GOPROXY } = await this.settings()
    if (GOPROXY === undefined || GOPROXY === '')
      throw new Error('no Go module proxy is known on this machine; set GOPROXY, or install Go')
    const found = [...GOPROXY.matchAll(/([^,|]+)([,|]?)/g)]
      .map(([, proxy = '', separator]) => ({ proxy: proxy.trim().replace(/\/$/, ''), onAnyError: separator === '|' }))
      .filter(({ proxy }) => /^https?:/.test(proxy))
    if (found.length === 0) throw new Error(`GOPROXY is '${GOPROXY}' on this machine, so there is no module proxy to ask`)
    return found
  }

  async #verify(proxy: string, module: string, version: string, checksum: string): Promise<void> {
    const { GOSUMDB } = await this.settings()
    if (GOSUMDB === 'off') return
    const database = (GOSUMDB ?? '').split(/[+\s]/)[0]
    if (!database)
      throw new Error('no Go checksum database is known on this machine; set GOSUMDB (off where the proxy is trusted)')
    const lookup = `/lookup/${escaped(module)}@${escaped(version)}`
    const text = await this.downloads
      .text(`${proxy}/sumdb/${database}${lookup}`)
      .catch(() => this.downloads.text(`https://${database}${lookup}`))
    if (!text.split('\n').includes(`${module} ${version} ${checksum}`))
      throw new Error(`${module} ${version} does not have the checksum that ${database} names`)
  }
}

/** Upper-case letters, as module proxies want them. */
const escaped = (text: string): string => text.replaceAll(/[A-Z]/g, (letter) => `!${letter.toLowerCase()}`)

/** Go's "h1" of a module's archive: the checksum of the sorted list of its files' checksums. */
export async function hashOfZip(path: string): Promise<string> {
  const files: [string, string][] = []
  await visitZip(path, LIMITS, async (entry, open) => {
    if (entry.type !== 'file') return
    const hash = createHash('sha256')
    for await (const chunk of await open()) hash.update(chunk as Buffer)
    files.push([entry.path, hash.digest('hex')])
  })
  const total = createHash('sha256')
  files.sort(([a], [b]) => (a < b ? -1 : 1))
  for (const [name, digest] of files) total.update(`${digest}  ${name}\n`)
  return `h1:${total.digest('base64')}`
}

/** A version that was asked for exactly is tried though nothing lists it. */
export function exactVersion(range: string): Published | undefined {
  const version = semver.valid(range)
  return version === null ? undefined : { version, name: version }
}
