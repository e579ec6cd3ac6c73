import type { Step } from '../proxy/disposition.js'

export const FORWARDED_PROTOS = ['keep', 'sanitize', 'https'] as const
/** `keep`: what a proxy in front says counts. `sanitize`: the listener's own scheme. `https`: always that. */
export type ForwardedProto = (typeof FORWARDED_PROTOS)[number]

/** X-Forwarded-For names the client after those it named itself; X-Forwarded-Proto is a proxy's in front of us, else the listener's. */
export const forwarded =
  (proto: ForwardedProto = 'keep'): Step =>
  ({ headers, client }) => {
    const named = headers.get('x-forwarded-for')
    if (named === undefined) headers.append('X-Forwarded-For', client.address)
    else headers.set('X-Forwarded-For', [...headers.getAll('x-forwarded-for'), client.address].filter(Boolean).join(', '))
    // What a route service sends back was settled on its way there.
    if (headers.has('x-cf-proxy-signature') && headers.has('x-forwarded-proto')) return undefined
    if (proto !== 'keep' || !headers.has('x-forwarded-proto'))
      headers.set('X-Forwarded-Proto', proto === 'https' || client.secure ? 'https' : 'http')
    return undefined
  }
