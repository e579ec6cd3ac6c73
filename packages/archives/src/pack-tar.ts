import { createReadStream } from 'node:fs'
import { lstat, readdir, readlink } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import tar from 'tar-stream'

export interface PackTarOptions {
  /** Owner written into the archive. */
  readonly owner?: { readonly uid: number; readonly gid: number }
  /** Stands before each name; './' by default. */
  readonly prefix?: string
}

/** A folder as a tar stream: names sorted, permission bits, links and times kept. Sockets, pipes and devices are left out. */
export function packTar(folder: string, options: PackTarOptions = {}): Readable {
  const pack = tar.pack()
  void walk(pack, folder, '', options).then(
    () => pack.finalize(),
    (error: unknown) => pack.destroy(error instanceof Error ? error : new Error(String(error))),
  )
  return Readable.from(pack, { objectMode: false, highWaterMark: 256 * 1024 })
}

async function walk(pack: tar.Pack, root: string, below: string, options: PackTarOptions): Promise<void> {
  const names = (await readdir(join(root, below))).sort()
  for (const name of names) {
    const path = below === '' ? name : `${below}/${name}`
    const found = await lstat(join(root, path))
    const header = {
      name: (options.prefix ?? './') + path,
      mode: found.mode & 0o777,
      mtime: found.mtime,
      uid: options.owner?.uid ?? found.uid,
      gid: options.owner?.gid ?? found.gid,
    }
    if (found.isDirectory()) {
      await addEntry(pack, { ...header, type: 'directory' })
      await walk(pack, root, path, options)
    } else if (found.isSymbolicLink()) {
      await addEntry(pack, { ...header, type: 'symlink', linkname: await readlink(join(root, path)) })
    } else if (found.isFile()) {
      await addFile(pack, { ...header, type: 'file', size: found.size }, join(root, path))
    }
  }
}

type HeaderArgument = Parameters<tar.Pack['entry']>[0]

function addEntry(pack: tar.Pack, header: HeaderArgument): Promise<void> {
  return new Promise((resolve, reject) => {
    pack.entry(header, '', (error) => (error ? reject(error) : resolve()))
  })
}

async function addFile(pack: tar.Pack, header: HeaderArgument & { size: number }, path: string): Promise<void> {
  if (header.size === 0) {
    await addEntry(pack, header)
    return
  }
  await new Promise<void>((resolve, reject) => {
    const entry = pack.entry(header, (error) => (error ? reject(error) : resolve()))
    const copy = async (): Promise<void> => {
      // `end` keeps to the announced size even while a log file grows.
      for await (const chunk of createReadStream(path, {
        end: header.size - 1,
        highWaterMark: 256 * 1024,
      }) as AsyncIterable<Buffer>)
        if (!entry.write(chunk)) await new Promise<void>((drained) => entry.once('drain', drained))
      entry.end(null)
    }
    copy().catch(reject)
  })
}
