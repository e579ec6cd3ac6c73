import { createHmac, timingSafeEqual } from 'node:crypto'

const sign = (key: string, expires: number, signingKey: Buffer): Buffer =>
  createHmac('sha256', signingKey).update(`${key}\n${expires}`).digest()

/** Path and query of a signed address: `/internal/blobs/<key>?expires=<unix seconds>&signature=<hex>`. */
export function signedPath(key: string, expires: number, signingKey: Buffer): string {
  return `/internal/blobs/${key}?expires=${expires}&signature=${sign(key, expires, signingKey).toString('hex')}`
}

/** Whether a signed address may still be served. `expires` and `signature` are the query's values as they came. */
export function verifySignature(
  { key, expires, signature }: { key: string; expires: string | undefined; signature: string | undefined },
  signingKey: Buffer,
  now: Date = new Date(),
): boolean {
  if (!expires || !/^\d{1,12}$/.test(expires) || !signature || !/^[0-9a-f]{64}$/.test(signature)) return false
  if (Number(expires) * 1000 < now.getTime()) return false
  return timingSafeEqual(Buffer.from(signature, 'hex'), sign(key, Number(expires), signingKey))
}
