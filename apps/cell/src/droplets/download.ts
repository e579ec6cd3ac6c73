import { get as getPlain, type IncomingMessage } from 'node:http'
import { get as getSecure } from 'node:https'
import type { Readable } from 'node:stream'
import { serverNameOf } from '@bloomery/contracts'
import type { IdentitySource } from '@bloomery/feeds'
import { DropletUnavailable } from './droplet-cache.js'

/** A peer that sends nothing for so long is gone. */
const STALL_MS = 60_000

/** Reads signed addresses: those of the platform's own blob listener over its own authority, any other (S3) as the machine trusts it. */
export function createDownloader(identity: IdentitySource): (url: string, signal: AbortSignal) => Promise<Readable> {
  return async (address, signal) => {
    const answer = await open(new URL(address), identity, signal)
    if (answer.statusCode === 200) return answer
    answer.destroy()
    const text = `The blob store answered ${answer.statusCode ?? 0} for the droplet`
    if (answer.statusCode === 404) throw new DropletUnavailable(`${text}: it is gone; restage the app`)
    throw new Error(text)
  }
}

function open(url: URL, identity: IdentitySource, signal: AbortSignal): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const call =
      url.protocol === 'https:'
        ? getSecure(url, { signal, agent: false, ...trust(url, identity) }, resolve)
        : getPlain(url, { signal, agent: false }, resolve)
    call.setTimeout(STALL_MS, () => call.destroy(new Error('the blob store has gone silent')))
    call.once('error', reject)
  })
}

function trust(url: URL, identity: IdentitySource) {
  if (!url.pathname.startsWith('/internal/blobs/')) return {}
  const { certificatePem: cert, privateKeyPem: key, authorityPem: ca } = typeof identity === 'function' ? identity() : identity
  return { cert, key, ca, servername: serverNameOf('api') }
}
