import type { Readable } from 'node:stream'
import type { IdentitySource } from '@bloomery/feeds'
import { dialRole } from '@bloomery/feeds'
import { Agent, type Dispatcher, request } from 'undici'
import { DropletUnavailable } from './droplet-cache.js'

const HEADERS_MS = 30_000
const STALL_MS = 60_000

/** Reads signed addresses: those of the platform's own blob listener over its own authority, any other (S3) as the machine trusts it. */
export function createDownloader(identity: IdentitySource): (url: string, signal: AbortSignal) => Promise<Readable> {
  return async (address, signal) => {
    const url = new URL(address)
    const internal = url.protocol === 'https:' && url.pathname.startsWith('/internal/blobs/')
    const limits = { headersTimeout: HEADERS_MS, bodyTimeout: STALL_MS }
    const dispatcher: Dispatcher = internal ? dialRole('api', identity, limits) : new Agent(limits)
    const done = () => void dispatcher.close().catch(() => dispatcher.destroy())
    try {
      const { statusCode, body } = await request(url, { dispatcher, signal })
      body.once('close', done)
      if (statusCode === 200) return body
      body.destroy()
      const text = `The blob store answered ${statusCode} for the droplet`
      if (statusCode === 404) throw new DropletUnavailable(`${text}: it is gone; restage the app`)
      throw new Error(text)
    } catch (error) {
      done()
      throw error
    }
  }
}
