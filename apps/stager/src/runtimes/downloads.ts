import { createHash, type BinaryToTextEncoding } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { type Dispatcher, EnvHttpProxyAgent, fetch } from 'undici'

const WAIT_MS = 30_000
const DOWNLOAD_MS = 600_000
const MAX_TEXT_BYTES = 32 * 1024 * 1024

/** An answer that is no success; 404 and 410 say that the thing is not there. */
export class DownloadError extends Error {
  override readonly name = 'DownloadError'
  constructor(
    message: string,
    readonly status: number | undefined,
    options?: ErrorOptions,
  ) {
    super(message, options)
  }
}

/** Reads addresses by the machine's proxies. User and password of an address are sent as such. */
export class Downloads {
  readonly #dispatcher: Dispatcher
  constructor(
    proxies: { readonly http?: string | undefined; readonly https?: string | undefined; readonly no?: string | undefined } = {},
  ) {
    this.#dispatcher = new EnvHttpProxyAgent({
      ...(proxies.http !== undefined && { httpProxy: proxies.http }),
      ...(proxies.https !== undefined && { httpsProxy: proxies.https }),
      ...(proxies.no !== undefined && { noProxy: proxies.no }),
      connectTimeout: WAIT_MS,
      headersTimeout: WAIT_MS,
    })
  }

  async text(url: string): Promise<string> {
    const response = await this.#get(url, WAIT_MS)
    const chunks: Uint8Array[] = []
    let bytes = 0
    for await (const chunk of response.body ?? []) {
      bytes += (chunk as Uint8Array).length
      if (bytes > MAX_TEXT_BYTES) throw new DownloadError(`the answer of ${shown(url)} is too long`, response.status)
      chunks.push(chunk as Uint8Array)
    }
    return Buffer.concat(chunks).toString('utf8')
  }

  async file(url: string, path: string): Promise<void> {
    const response = await this.#get(url, DOWNLOAD_MS)
    if (!response.body) throw new DownloadError(`${shown(url)} answered nothing`, response.status)
    await pipeline(Readable.fromWeb(response.body), createWriteStream(path))
  }

  async close(): Promise<void> {
    await this.#dispatcher.close()
  }

  async #get(url: string, timeoutMs: number) {
    const address = new URL(url)
    const headers: Record<string, string> = { 'user-agent': 'bloomery' }
    if (address.username !== '' || address.password !== '') {
      const pair = `${decodeURIComponent(address.username)}:${decodeURIComponent(address.password)}`
      headers['authorization'] = `Basic ${Buffer.from(pair).toString('base64')}`
      address.username = address.password = ''
    }
    const response = await fetch(address, {
      headers,
      dispatcher: this.#dispatcher,
      signal: AbortSignal.timeout(timeoutMs),
    }).catch((error: unknown) => {
      throw new DownloadError(`${shown(url)} is out of reach: ${reasonOf(error)}`, undefined, { cause: error })
    })
    if (response.ok) return response
    await response.body?.cancel()
    throw new DownloadError(`${shown(url)} answered ${response.status}`, response.status)
  }
}

/** The innermost reason; where several addresses were tried, the first one's. */
function reasonOf(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return reasonOf(error.errors[0])
  if (error instanceof Error) return error.cause === undefined ? error.message : reasonOf(error.cause)
  return String(error)
}

/** An address without its user and password. */
function shown(url: string): string {
  const address = new URL(url)
  address.username = address.password = ''
  return address.href
}

export async function digestOf(
  path: string,
  algorithm: 'sha1' | 'sha256' | 'sha512',
  encoding: BinaryToTextEncoding,
): Promise<string> {
  const hash = createHash(algorithm)
  await pipeline(createReadStream(path), hash)
  return hash.digest(encoding)
}
