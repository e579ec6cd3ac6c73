import { randomUUID } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import {
  CopyObjectCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
  S3ServiceException,
} from '@aws-sdk/client-s3'
import { getSignedUrl } from '@aws-sdk/s3-request-presigner'
import { type BlobEntry, BlobError, type BlobInfo, type Blobstore } from './blobstore.js'
import { checkKey, notFound } from './keys.js'
import { checkSha256, fromDisk, measure } from './measure.js'

export interface S3Location {
  readonly bucket: string
  /** Ends in a slash, or is empty. */
  readonly prefix: string
  readonly region: string
  readonly endpoint?: string
  readonly forcePathStyle: boolean
  /** Absent: the usual places of AWS clients (environment, profile, instance role). */
  readonly credentials?: { readonly accessKeyId: string; readonly secretAccessKey: string }
}

/** `s3://[key:secret@]bucket[/prefix]?region=…&endpoint=https://…&path_style=true` */
export function parseS3Url(url: string): S3Location {
  const { hostname, pathname, searchParams, username, password } = new URL(url)
  const prefix = pathname.replace(/^\/+|\/+$/g, '')
  const endpoint = searchParams.get('endpoint')
  return {
    bucket: hostname,
    prefix: prefix ? `${prefix}/` : '',
    region: searchParams.get('region') ?? 'us-east-1',
    forcePathStyle: searchParams.get('path_style') === 'true',
    ...(endpoint && { endpoint }),
    ...(username && {
      credentials: { accessKeyId: decodeURIComponent(username), secretAccessKey: decodeURIComponent(password) },
    }),
  }
}

/** Blobs as objects of one bucket. Uploads are spooled to a temporary file first: size and checksum are known before anything is visible. */
export class S3Blobstore implements Blobstore {
  readonly #client: S3Client
  readonly #at: S3Location

  constructor(location: S3Location) {
    this.#at = location
    this.#client = new S3Client({
      region: location.region,
      forcePathStyle: location.forcePathStyle,
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
      ...(location.endpoint && { endpoint: location.endpoint }),
      ...(location.credentials && { credentials: location.credentials }),
    })
  }

  async put(
    key: string,
    body: Readable,
    options: { maxBytes?: number; sha256?: string; signal?: AbortSignal } = {},
  ): Promise<BlobInfo> {
    checkKey(key)
    const spool = join(tmpdir(), `bloomery-blob-${randomUUID()}`)
    const { through, result } = measure(options.maxBytes)
    try {
      const file = createWriteStream(spool, { flags: 'wx', mode: 0o600 })
      await (options.signal ? pipeline(body, through, file, { signal: options.signal }) : pipeline(body, through, file))
      const { sizeBytes, sha256 } = result()
      checkSha256(options.sha256, sha256)
      await this.#upload(key, spool, sizeBytes)
      return { key, sizeBytes, sha256 }
    } catch (error) {
      throw fromDisk(error, `writing '${key}'`)
    } finally {
      await rm(spool, { force: true })
    }
  }

  async putFile(key: string, path: string): Promise<BlobInfo> {
    checkKey(key)
    const { through, result } = measure(undefined)
    through.resume()
    await pipeline(createReadStream(path), through)
    await this.#upload(key, path, (await stat(path)).size)
    await rm(path, { force: true })
    return { key, ...result() }
  }

  async get(key: string): Promise<{ body: Readable; sizeBytes: number }> {
    checkKey(key)
    const answer = await this.#send(key, () => this.#client.send(new GetObjectCommand(this.#object(key))))
    if (!(answer.Body instanceof Readable)) throw new BlobError('unavailable', `The object store sent no body for '${key}'.`)
    return { body: answer.Body, sizeBytes: answer.ContentLength ?? 0 }
  }

  async stat(key: string): Promise<BlobEntry | undefined> {
    checkKey(key)
    try {
      const head = await this.#send(key, () => this.#client.send(new HeadObjectCommand(this.#object(key))))
      return { key, sizeBytes: head.ContentLength ?? 0, modifiedAt: head.LastModified ?? new Date(0) }
    } catch (error) {
      if (error instanceof BlobError && error.kind === 'not-found') return undefined
      throw error
    }
  }

  async delete(key: string): Promise<void> {
    checkKey(key)
    await this.#send(key, () => this.#client.send(new DeleteObjectCommand(this.#object(key))))
  }

  async *list(prefix: string): AsyncIterable<BlobEntry> {
    let token: string | undefined
    do {
      const page = await this.#send(prefix, () =>
        this.#client.send(
          new ListObjectsV2Command({
            Bucket: this.#at.bucket,
            Prefix: this.#at.prefix + prefix,
            ...(token !== undefined && { ContinuationToken: token }),
          }),
        ),
      )
      for (const each of page.Contents ?? [])
        yield {
          key: (each.Key ?? '').slice(this.#at.prefix.length),
          sizeBytes: each.Size ?? 0,
          modifiedAt: each.LastModified ?? new Date(0),
        }
      token = page.NextContinuationToken
    } while (token !== undefined)
  }

  async copy(from: string, to: string): Promise<void> {
    checkKey(from)
    checkKey(to)
    const source = `${this.#at.bucket}/${this.#at.prefix}${from}`
    await this.#send(from, () => this.#client.send(new CopyObjectCommand({ ...this.#object(to), CopySource: source })))
  }

  signedUrl(key: string, expiresInSeconds: number): Promise<string> {
    checkKey(key)
    return getSignedUrl(this.#client, new GetObjectCommand(this.#object(key)), { expiresIn: expiresInSeconds })
  }

  localPath(): undefined {
    return undefined
  }

  async #upload(key: string, path: string, sizeBytes: number): Promise<void> {
    await this.#send(key, () =>
      this.#client.send(new PutObjectCommand({ ...this.#object(key), Body: createReadStream(path), ContentLength: sizeBytes })),
    )
  }

  #object(key: string): { Bucket: string; Key: string } {
    return { Bucket: this.#at.bucket, Key: this.#at.prefix + key }
  }

  async #send<T>(key: string, request: () => Promise<T>): Promise<T> {
    try {
      return await request()
    } catch (error) {
      if (error instanceof S3ServiceException && error.$metadata.httpStatusCode === 404) throw notFound(key, error)
      const reason = error instanceof Error ? error.message : String(error)
      throw new BlobError('unavailable', `The object store did not serve '${key}': ${reason}`, { cause: error })
    }
  }
}
