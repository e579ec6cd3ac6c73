import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto'
import type { RouteServiceKeys } from '@bloomery/contracts'
import { z } from 'zod'

export const SIGNATURE = 'X-CF-Proxy-Signature'
export const METADATA = 'X-CF-Proxy-Metadata'
export const FORWARDED_URL = 'X-CF-Forwarded-Url'

/** What a router tells itself over the route service. */
const Signed = z.object({ forwarded_url: z.string(), requested_time: z.iso.datetime({ offset: true }) })
const Metadata = z.object({ nonce: z.base64() })

const CIPHER = 'aes-256-gcm'
const NONCE_BYTES = 12
const TAG_BYTES = 16
/** No address is longer than the head that it came in. */
const MAX_LENGTH = 256 * 1024

/** The two fields that prove to a router that it sent this request to the route service itself. */
export function signRequest(
  keys: RouteServiceKeys,
  forwardedUrl: string,
  now: Date,
): { readonly signature: string; readonly metadata: string } | undefined {
  const [key] = keys
  if (!key) return undefined
  const nonce = randomBytes(NONCE_BYTES)
  const cipher = createCipheriv(CIPHER, Buffer.from(key.key, 'base64'), nonce)
  const text = JSON.stringify({ forwarded_url: forwardedUrl, requested_time: now.toISOString() } satisfies z.infer<typeof Signed>)
  const sealed = Buffer.concat([cipher.update(text, 'utf8'), cipher.final(), cipher.getAuthTag()])
  const metadata = JSON.stringify({ nonce: nonce.toString('base64') } satisfies z.infer<typeof Metadata>)
  return { signature: urlSafe(sealed), metadata: urlSafe(Buffer.from(metadata)) }
}

export type Verified = { readonly kind: 'valid'; readonly forwardedUrl: string } | { readonly kind: 'invalid' | 'expired' }

const INVALID: Verified = { kind: 'invalid' }

/** Reads the fields back; any of the keys may have signed. */
export function verifyRequest(
  keys: RouteServiceKeys,
  fields: { readonly signature: string; readonly metadata: string },
  now: Date,
  validMs: number,
): Verified {
  if (fields.signature.length > MAX_LENGTH || fields.metadata.length > MAX_LENGTH) return INVALID
  const nonce = readNonce(fields.metadata)
  const sealed = Buffer.from(fields.signature, 'base64url')
  if (!nonce || sealed.length <= TAG_BYTES) return INVALID
  for (const { key } of keys) {
    const text = unseal(Buffer.from(key, 'base64'), nonce, sealed)
    if (text === undefined) continue
    const { forwarded_url: forwardedUrl, requested_time: requestedTime } = Signed.parse(JSON.parse(text))
    const age = now.getTime() - Date.parse(requestedTime)
    return age > validMs ? { kind: 'expired' } : { kind: 'valid', forwardedUrl }
  }
  return INVALID
}

function readNonce(metadata: string): Buffer | undefined {
  try {
    const parsed = Metadata.safeParse(JSON.parse(Buffer.from(metadata, 'base64url').toString('utf8')))
    const nonce = parsed.success ? Buffer.from(parsed.data.nonce, 'base64') : undefined
    return nonce?.length === NONCE_BYTES ? nonce : undefined
  } catch {
    return undefined // no JSON: somebody else's
  }
}

function unseal(key: Buffer, nonce: Buffer, sealed: Buffer): string | undefined {
  try {
    const decipher = createDecipheriv(CIPHER, key, nonce)
    decipher.setAuthTag(sealed.subarray(sealed.length - TAG_BYTES))
    return Buffer.concat([decipher.update(sealed.subarray(0, sealed.length - TAG_BYTES)), decipher.final()]).toString('utf8')
  } catch {
    return undefined // signed by another key, or by nobody
  }
}

/** With its padding, as Go writes it. */
const urlSafe = (bytes: Buffer): string => bytes.toString('base64').replaceAll('+', '-').replaceAll('/', '_')
