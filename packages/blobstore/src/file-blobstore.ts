import { randomUUID } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { copyFile, link, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Readable } from 'node:stream'
import { finished, pipeline } from 'node:stream/promises'
import { type BlobEntry, BlobError, type BlobInfo, type Blobstore } from './blobstore.js'
import { checkKey, notFound } from './keys.js'
import { checkSha256, fromDisk, isMissing, isOtherDevice, measure } from './measure.js'
import { signedPath } from './signature.js'

/** Blobs as files below one folder. What is being written lies under `.incoming` and gets its name by a rename. */
export class FileBlobstore implements Blobstore {
  readonly #root: string
  readonly #blobsUrl: string
  readonly #signingKey: () => Buffer

  constructor(root: string, access: { blobsUrl: string; signingKey: () => Buffer }) {
    this.#root = root
    this.#blobsUrl = access.blobsUrl.replace(/\/$/, '')
    this.#signingKey = access.signingKey
  }

  async put(
    key: string,
    body: Readable,
    options: { maxBytes?: number; sha256?: string; signal?: AbortSignal } = {},
  ): Promise<BlobInfo> {
    checkKey(key)
    const incoming = await this.#incoming()
    const { through, result } = measure(options.maxBytes)
    try {
      const file = createWriteStream(incoming, { flags: 'wx', flush: true })
      await (options.signal ? pipeline(body, through, file, { signal: options.signal }) : pipeline(body, through, file))
      const { sizeBytes, sha256 } = result()
      checkSha256(options.sha256, sha256)
      await this.#settle(incoming, key)
      return { key, sizeBytes, sha256 }
    } catch (error) {
      await rm(incoming, { force: true })
      throw fromDisk(error, `writing '${key}'`)
    }
  }

  async putFile(key: string, path: string): Promise<BlobInfo> {
    checkKey(key)
    const { through, result } = measure(undefined)
    const incoming = await this.#incoming()
    try {
      through.resume()
      // The disk writes while the sum is made.
      await Promise.all([pipeline(createReadStream(path, { highWaterMark: 1 << 20 }), through), toDisk(path)])
      try {
        await rename(path, incoming)
      } catch (error) {
        if (!isOtherDevice(error)) throw error
        await copyFile(path, incoming)
        await toDisk(incoming)
        await rm(path, { force: true })
      }
      await this.#settle(incoming, key)
      return { key, ...result() }
    } catch (error) {
      await rm(incoming, { force: true })
      throw fromDisk(error, `writing '${key}'`)
    }
  }

  async get(key: string): Promise<{ body: Readable; sizeBytes: number }> {
    checkKey(key)
    try {
      // One handle for both, so that size and bytes belong together even while the key is being replaced.
      const handle = await open(this.#path(key))
      const { size } = await handle.stat()
      const body = handle.createReadStream({ highWaterMark: 256 * 1024 })
      void finished(body).catch(() => undefined)
      return { body, sizeBytes: size }
    } catch (error) {
      if (isMissing(error)) throw notFound(key, error)
      throw fromDisk(error, `reading '${key}'`)
    }
  }

  async stat(key: string): Promise<BlobEntry | undefined> {
    checkKey(key)
    try {
      const found = await stat(this.#path(key))
      return found.isFile() ? { key, sizeBytes: found.size, modifiedAt: found.mtime } : undefined
    } catch (error) {
      if (isMissing(error)) return undefined
      throw fromDisk(error, `looking for '${key}'`)
    }
  }

  async delete(key: string): Promise<void> {
    checkKey(key)
    await rm(this.#path(key), { force: true })
  }

  async *list(prefix: string): AsyncIterable<BlobEntry> {
    const below = prefix.slice(0, prefix.lastIndexOf('/') + 1)
    for await (const entry of this.#walk(below)) if (entry.key.startsWith(prefix)) yield entry
  }

  async copy(from: string, to: string): Promise<void> {
    checkKey(from)
    checkKey(to)
    const incoming = await this.#incoming()
    try {
      // A blob's bytes never change under its inode, so a second name is as good as a copy.
      await link(this.#path(from), incoming).catch(async (error: unknown) => {
        if (!isOtherDevice(error)) throw error
        await copyFile(this.#path(from), incoming)
      })
      await this.#settle(incoming, to)
    } catch (error) {
      await rm(incoming, { force: true })
      if (isMissing(error)) throw notFound(from, error)
      throw fromDisk(error, `copying '${from}'`)
    } finally {
      // rename() of two names of one file does nothing and leaves the first.
      await rm(incoming, { force: true })
    }
  }

  signedUrl(key: string, expiresInSeconds: number): Promise<string> {
    checkKey(key)
    const expires = Math.floor(Date.now() / 1000) + expiresInSeconds
    return Promise.resolve(this.#blobsUrl + signedPath(key, expires, this.#signingKey()))
  }

  localPath(key: string): string {
    checkKey(key)
    return this.#path(key)
  }

  #path(key: string): string {
    return join(this.#root, key)
  }

  async #incoming(): Promise<string> {
    const folder = join(this.#root, '.incoming')
    try {
      await mkdir(folder, { recursive: true, mode: 0o700 })
    } catch (error) {
      throw new BlobError(
        'unavailable',
        `The blob store's folder ${this.#root} cannot be used; check its owner and free space.`,
        {
          cause: error,
        },
      )
    }
    return join(folder, randomUUID())
  }

  async #settle(incoming: string, key: string): Promise<void> {
    await mkdir(dirname(this.#path(key)), { recursive: true })
    await rename(incoming, this.#path(key))
  }

  async *#walk(below: string): AsyncIterable<BlobEntry> {
    let names
    try {
      names = await readdir(join(this.#root, below), { withFileTypes: true })
    } catch (error) {
      if (isMissing(error)) return
      throw fromDisk(error, `listing '${below}'`)
    }
    for (const entry of names) {
      if (entry.name.startsWith('.')) continue
      if (entry.isDirectory()) yield* this.#walk(`${below}${entry.name}/`)
      else {
        const found = await this.stat(below + entry.name)
        if (found) yield found
      }
    }
  }
}

/** Reading is enough to have a file's bytes written out, whoever it belongs to. */
async function toDisk(path: string): Promise<void> {
  const handle = await open(path)
  try {
    await handle.datasync()
  } finally {
    await handle.close()
  }
}
