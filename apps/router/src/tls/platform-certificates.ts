import { readFile, rename, writeFile, mkdir } from 'node:fs/promises'
import { request } from 'node:https'
import { dirname } from 'node:path'
import { type NodeIdentity, serverNameOf } from '@bloomery/contracts'
import type { Logger } from '@bloomery/telemetry'
import { z } from 'zod'
import type { CertificateStore } from './certificate-store.js'

const Certificates = z.array(z.object({ names: z.array(z.string()), certificatePem: z.string(), privateKeyPem: z.string() }))
type Certificates = z.infer<typeof Certificates>

const REFRESH_MS = 3_600_000
const RETRY_MS = { first: 500, most: 30_000 }
const TIMEOUT_MS = 5_000

export interface PlatformCertificatesOptions {
  /** https://host:port of the api's internal listener. */
  readonly url: string
  readonly identity: () => NodeIdentity
  /** Copy on disk, so that the router starts without the api. */
  readonly cacheFile: string
  readonly store: CertificateStore
  readonly log: Logger
}

/** Certificates of the platform's own authority: from the copy on disk at once, from the api as soon as it answers, then hourly. */
export async function followPlatformCertificates(options: PlatformCertificatesOptions): Promise<{ close(): void }> {
  const { store, log, cacheFile } = options
  let timer: NodeJS.Timeout | undefined
  let closed = false
  let wait = RETRY_MS.first
  const use = (certificates: Certificates): void =>
    store.replace(certificates, (names, err) => log.error({ err, names }, 'a certificate of the platform cannot be used'))
  const cached = await readCache(cacheFile, log)
  if (cached) use(cached)
  const refresh = async (): Promise<void> => {
    try {
      const certificates = await fetchCertificates(options)
      use(certificates)
      await writeCache(cacheFile, certificates)
      wait = RETRY_MS.first
      schedule(REFRESH_MS)
    } catch (error) {
      const level = store.isEmpty && wait >= RETRY_MS.most ? 'warn' : 'debug'
      log[level](
        { reason: error instanceof Error ? error.message : String(error) },
        'certificates are not to be had from the api yet',
      )
      schedule(wait)
      wait = Math.min(wait * 2, RETRY_MS.most)
    }
  }
  const schedule = (afterMs: number): void => {
    if (closed) return
    timer = setTimeout(() => void refresh(), afterMs)
    timer.unref()
  }
  schedule(0)
  return {
    close: () => {
      closed = true
      clearTimeout(timer)
    },
  }
}

async function readCache(path: string, log: Logger): Promise<Certificates | undefined> {
  try {
    return Certificates.parse(JSON.parse(await readFile(path, 'utf8')))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') log.warn({ err: error, path }, 'the kept certificates cannot be read')
    return undefined
  }
}

async function writeCache(path: string, certificates: Certificates): Promise<void> {
  const part = `${path}.${process.pid}.part`
  await mkdir(dirname(path), { recursive: true, mode: 0o700 })
  await writeFile(part, JSON.stringify(certificates), { mode: 0o600 })
  await rename(part, path)
}

function fetchCertificates(options: PlatformCertificatesOptions): Promise<Certificates> {
  return new Promise((resolve, reject) => {
    const { certificatePem: cert, privateKeyPem: key, authorityPem: ca } = options.identity()
    const call = request(
      new URL('/internal/ingress-certificates', options.url),
      { cert, key, ca, servername: serverNameOf('api'), agent: false, timeout: TIMEOUT_MS },
      (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.once('error', reject)
        response.once('end', () => {
          if (response.statusCode !== 200) return reject(new Error(`the api answered ${response.statusCode ?? 0}`))
          try {
            resolve(Certificates.parse(JSON.parse(Buffer.concat(chunks).toString('utf8'))))
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
