import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { promisify } from 'node:util'
import { z } from 'zod'

const run = promisify(execFile)
const FRESH_MS = 12 * 3_600_000
const MAX_OUTPUT = 64 * 1024 * 1024
const Dist = z.object({ integrity: z.string().regex(/^sha512-/) })

/**
 * Packages from the registry that this machine's npm is set up for, through npm itself: its configuration with proxies, certificates and
 * credentials is thereby ours.
 */
export class NpmPackages {
  constructor(private readonly folder: string) {}

  /** Published versions; from a list of at most twelve hours' age, or an older one while the registry is out of reach. */
  async versions(name: string): Promise<string[]> {
    const file = join(this.folder, `${encodeURIComponent(name)}.versions.json`)
    const kept = await readFile(file, 'utf8').then(
      async (text) => ({ versions: z.array(z.string()).parse(JSON.parse(text)), at: (await stat(file)).mtimeMs }),
      () => undefined,
    )
    if (kept && Date.now() - kept.at < FRESH_MS) return kept.versions
    try {
      const found: unknown = JSON.parse(await this.#npm(['view', name, 'versions', '--json']))
      const versions = z.array(z.string()).parse(Array.isArray(found) ? found : [found])
      await mkdir(this.folder, { recursive: true })
      await writeFile(file, JSON.stringify(versions))
      return versions
    } catch (error) {
      if (kept) return kept.versions
      throw new Error(`the package registry could not be asked for the versions of ${name}: ${reasonOf(error)}`, { cause: error })
    }
  }

  /** Downloads a version and hands its archive (tar.gz) to `use`, after its checksum was found right. */
  async download<T>(name: string, version: string, use: (archive: string, integrity: string) => Promise<T>): Promise<T> {
    const folder = await mkdtemp(join(tmpdir(), 'bloomery-runtime-'))
    try {
      const spec = `${name}@${version}`
      const { integrity } = Dist.parse(JSON.parse(await this.#npm(['view', spec, 'dist', '--json'])))
      const packed = z
        .array(z.object({ filename: z.string() }))
        .parse(JSON.parse(await this.#npm(['pack', spec, '--json', '--ignore-scripts', '--pack-destination', folder])))
      const archive = join(folder, packed[0]?.filename.replace(/^@/, '').replaceAll('/', '-') ?? '')
      const hash = createHash('sha512')
      await pipeline(createReadStream(archive), hash)
      if (`sha512-${hash.digest('base64')}` !== integrity)
        throw new Error(`${spec} does not have the checksum that the registry names`)
      return await use(archive, integrity)
    } catch (error) {
      throw new Error(`${name} ${version} could not be downloaded: ${reasonOf(error)}`, { cause: error })
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  }

  async #npm(args: readonly string[]): Promise<string> {
    const { stdout } = await run('npm', [...args, '--loglevel=error'], { timeout: 300_000, maxBuffer: MAX_OUTPUT, cwd: tmpdir() })
    return stdout
  }
}

function reasonOf(error: unknown): string {
  const stderr = typeof error === 'object' && error !== null && 'stderr' in error ? String(error.stderr) : ''
  const line = stderr.split('\n').find((each) => /npm (error|ERR!)/.test(each) && !/code/.test(each))
  return (
    line?.replace(/^npm (error|ERR!)\s*/, '') ?? (error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error))
  )
}
