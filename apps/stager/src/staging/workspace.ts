import { chmod, chown, mkdir, readdir, readFile, rm, statfs, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import type { Mount } from '@bloomery/containers'
import type { FileSystem } from '@bloomery/domain'
import { z } from 'zod'
import { VCAP } from './owned-files.js'

const run = promisify(execFile)
const Answer = z.object({ path: z.string().optional(), version: z.string().optional(), checksum: z.string().optional() })
/** A runtime that a buildpack was given. */
export type AnsweredRuntime = z.infer<typeof Answer> & { readonly path: string; readonly version: string }
const isRoot = (): boolean => process.getuid?.() === 0

/**
 * The folders of one staging:
 *
 *   tmp/        /tmp in the container: app, contents (what becomes the droplet) and whatever else is written
 *   tmp/stage   plan in; requests and answers about runtimes; result and droplet out
 *
 * `tmp` and `stage` belong to the stager and are sticky: programs inside can neither remove nor replace what the stager put there.
 */
export class Workspace {
  readonly tmp: string
  readonly stage: string
  /** What becomes the droplet. */
  readonly contents: string
  /** Folders that become layers of it. */
  readonly made: string
  constructor(readonly folder: string) {
    this.tmp = join(folder, 'tmp')
    this.stage = join(this.tmp, 'stage')
    this.contents = join(this.tmp, 'contents')
    this.made = join(this.tmp, 'made')
  }

  /** An empty folder; what an earlier try has left there is gone. */
  async begin(): Promise<void> {
    await rm(this.folder, { recursive: true, force: true })
    await mkdir(this.folder, { recursive: true })
  }

  async make(plan: unknown, mountPoints: readonly string[]): Promise<void> {
    await mkdir(this.stage, { recursive: true })
    for (const name of ['requests', 'answers']) await mkdir(join(this.stage, name))
    // Made beforehand, so that the engine does not make them under another owner.
    for (const point of mountPoints) await mkdir(join(this.tmp, point), { recursive: true })
    await writeFile(join(this.tmp, 'package.zip'), '')
    await writeFile(join(this.stage, 'plan.json'), JSON.stringify(plan), { mode: 0o644 })
    for (const open of [this.tmp, this.stage, join(this.stage, 'requests')]) await chmod(open, 0o1777)
  }

  mount(): Mount {
    return { source: this.tmp, target: '/tmp', readOnly: false }
  }

  /** The runtimes that buildpacks were given. The answers are the stager's own files. */
  async answeredRuntimes(): Promise<AnsweredRuntime[]> {
    const folder = join(this.stage, 'answers')
    const answers = await Promise.all(
      (await readdir(folder))
        .filter((name) => name.endsWith('.json'))
        .map(async (name) => Answer.parse(JSON.parse(await readFile(join(folder, name), 'utf8')))),
    )
    return answers.flatMap(({ path, version, ...rest }) =>
      path === undefined || version === undefined ? [] : [{ ...rest, path, version }],
    )
  }

  /** The file system that builds write on. */
  async disk(): Promise<FileSystem> {
    const { bavail, blocks, bsize } = await statfs(this.folder)
    return { totalBytes: blocks * bsize, freeBytes: bavail * bsize }
  }

  /** Files inside belong to vcap; without root some may be out of reach, and `asVcap` removes those. */
  async remove(asVcap: (folder: string) => Promise<void>): Promise<void> {
    try {
      await rm(this.folder, { recursive: true, force: true, maxRetries: 2 })
    } catch {
      await asVcap(this.folder)
      await rm(this.folder, { recursive: true, force: true })
    }
  }
}

/** What a folder takes on disk. Files come and go while it looks, which is no error. */
export async function folderBytes(path: string): Promise<number> {
  const { stdout } = await run('sh', ['-c', 'du -s --block-size=1 -x "$1" 2>/dev/null || true', 'du', path])
  return Number.parseInt(stdout, 10) || 0
}

/** A folder that programs in a container may write, and nobody else's programs do. */
export async function makeWritableFolder(path: string): Promise<void> {
  await mkdir(path, { recursive: true })
  if (isRoot()) await chown(path, VCAP, VCAP)
  else await chmod(path, 0o777)
}
