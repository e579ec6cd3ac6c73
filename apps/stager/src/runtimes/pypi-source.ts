import { execFile } from 'node:child_process'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { type Published, publishedVersions } from './choose-version.js'
import { digestOf } from './downloads.js'
import { forArchitecture, type PypiSource } from './manifest.js'
import type { Archive, SourceClient } from './source-client.js'
import type { VersionLists } from './version-lists.js'

const run = promisify(execFile)
const COMMON = ['--disable-pip-version-check', '--no-input']

/**
 * Wheels from the index that this machine's pip is set up for, through pip itself, which also checks them against the index's checksums.
 * A wheel is a zip that has lost its programs' modes.
 */
export class PypiClient implements SourceClient<PypiSource> {
  constructor(
    private readonly lists: VersionLists,
    private readonly architecture: string,
  ) {}

  async versions(source: PypiSource): Promise<readonly Published[]> {
    const name = forArchitecture(source.package, this.architecture)
    const found = await this.lists.get('pypi', name, async () => {
      const output = await pip(['index', 'versions', name], name)
      const line = /^Available versions: (.+)$/m.exec(output)?.[1]
      if (line === undefined) throw new Error(`the package index names no versions of ${name}`)
      // The newest first; of builds of one version the newest shall count.
      return line
        .split(',')
        .map((each) => each.trim())
        .reverse()
    })
    return publishedVersions(found)
  }

  async download(source: PypiSource, { name: version }: Published, folder: string): Promise<Archive> {
    const name = forArchitecture(source.package, this.architecture)
    await pip(['download', '--quiet', '--no-deps', '--only-binary=:all:', '--dest', folder, `${name}==${version}`], name)
    const [wheel] = await readdir(folder)
    if (wheel === undefined) throw new Error(`pip downloaded no wheel of ${name} ${version}`)
    const path = join(folder, wheel)
    return { path, format: 'zip', checksum: `sha256:${await digestOf(path, 'sha256', 'hex')}` }
  }
}

async function pip(args: readonly string[], name: string): Promise<string> {
  try {
    const [command = '', ...rest] = args
    const { stdout } = await run('python3', ['-m', 'pip', command, ...COMMON, ...rest], { timeout: 300_000 })
    return stdout
  } catch (error) {
    const stderr = typeof error === 'object' && error !== null && 'stderr' in error ? String(error.stderr) : ''
    const reason = stderr.split('\n').findLast((line) => line.startsWith('ERROR:') || line.includes('No module named pip'))
    throw new Error(
      `pip could not get ${name}: ${reason?.replace(/^ERROR:\s*/, '') ?? (error instanceof Error ? error.message.split('\n')[0] : String(error))}`,
      { cause: error },
    )
  }
}
