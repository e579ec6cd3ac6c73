import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { request } from 'node:https'
import { dirname } from 'node:path'
import { type NodeIdentity, serverNameOf } from '@bloomery/contracts'
import type { Logger } from '@bloomery/telemetry'
import type { z } from 'zod'

const RETRY_MS = { first: 500, most: 30_000 }
const TIMEOUT_MS = 5_000

export interface FollowOptions<T> {
  /** https://host:port of the api's internal listener. */
  readonly url: string
  readonly path: string
  readonly schema: z.ZodType<T>
  readonly identity: () => NodeIdentity
  /** Copy on disk, so that the router starts without the api. */
  readonly cacheFile: string
  readonly refreshMs: number
  /** Called with the copy on disk at once, and with each answer. */
  readonly use: (value: T) => void
  /** Whether nothing has been found yet that could be used: then failures are worth a warning. */
  readonly isMissing: () => boolean
  readonly log: Logger
}

/** Keeps a copy of what the api has for routers: from disk at once, from the api as soon as it answers, then again and again. */
export async function followInternalApi<T>(options: FollowOptions<T>): Promise<{ refresh(): void; close(): void }> {
  const { log, cacheFile, use, path } = options
  let timer: NodeJS.Timeout | undefined
  let closed = false
  let wait = RETRY_MS.first
  let written = ''
  const cached = await readCache(options)
  if (cached !== undefined) use(cached)
  const refresh = async (): Promise<void> => {
    try {
      const value = await fetchInternal(options)
      use(value)
      const text = JSON.stringify(value)
      if (text !== written) await writeCache(cacheFile, text)
      written = text
      wait = RETRY_MS.first
      schedule(options.refreshMs)
    } catch (error) {
      const level = options.isMissing() && wait >= RETRY_MS.most ? 'warn' : 'debug'
      log[level]({ path, reason: error instanceof Error ? error.message : String(error) }, 'the api does not answer routers yet')
      schedule(wait)
      wait = Math.min(wait * 2, RETRY_MS.most)
    }
  }
  const schedule = (afterMs: number): void => {
    if (closed) return
    clearTimeout(timer)
    timer = setTimeout(() => void refresh(), afterMs)
    timer.unref()
  }
  schedule(0)
  return {
    refresh: () => schedule(0),
    close: () => {
      closed = true
      clearTimeout(timer)
    },
  }
}

async function readCache<T>({ cacheFile, schema, log }: FollowOptions<T>): Promise<T | undefined> {
  try {
    return schema.parse(JSON.parse(await readFile(cacheFile, 'utf8')))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT')
      log.warn({ err: error, path: cacheFile }, 'what was kept of the api’s answers cannot be read')
    return undefined
  }
}

async function writeCache(path: string, text: string): Promise<void> {
  const part = `${path}.${process.pid}.part`
  await mkdir(dirname(path), { recursive: true, mode: 0o700 })
  await writeFile(part, text, { mode: 0o600 })
  await rename(part, path)
}

function fetchInternal<T>(options: FollowOptions<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const { certificatePem: cert, privateKeyPem: key, authorityPem: ca } = options.identity()
    const call = request(
      new URL(options.path, options.url),
      { cert, key, ca, servername: serverNameOf('api'), agent: false, timeout: TIMEOUT_MS },
      (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.once('error', reject)
        response.once('end', () => {
          if (response.statusCode !== 200) return reject(new Error(`the api answered ${response.statusCode ?? 0}`))
          try {
            resolve(options.schema.parse(JSON.parse(Buffer.concat(chunks).toString('utf8'))))
          } catch (error) {
            reject(error instanceof Error ? error : new Error(String(error)))
          }
        })
      },
    )
    call.once('timeout', () => call.destroy(new Error('no answer in time')))
    call.once('error', reject)
    call.end()
  })
}
