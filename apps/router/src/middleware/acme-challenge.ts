import { z } from 'zod'
import type { Step } from '../proxy/disposition.js'

/** An answer to a certificate authority that looks whether a name is ours. */
export const AcmeChallenge = z.object({
  name: z.string(),
  token: z.string(),
  type: z.enum(['http-01', 'tls-alpn-01']).default('http-01'),
  keyAuthorization: z.string(),
  /** tls-alpn-01: what is shown to whoever offers acme-tls/1. */
  certificatePem: z.string().optional(),
  privateKeyPem: z.string().optional(),
})
export type AcmeChallenge = z.output<typeof AcmeChallenge>

const PREFIX = '/.well-known/acme-challenge/'

/** Answers for the platform while it orders a certificate for the name; apps that order their own get all else. */
export const acmeChallenge =
  (challenges: () => readonly AcmeChallenge[]): Step =>
  (exchange) => {
    if (!exchange.target.startsWith(PREFIX)) return undefined
    const token = exchange.target.slice(PREFIX.length)
    const found = challenges().find((each) => each.type === 'http-01' && each.token === token && each.name === exchange.host)
    if (!found) return undefined
    const { keyAuthorization: body } = found
    return {
      do: 'answer',
      answer: {
        status: 200,
        reason: 'OK',
        headers: ['Content-Type', 'application/octet-stream', 'Content-Length', String(Buffer.byteLength(body))],
        body,
        routerError: undefined,
        close: false,
      },
    }
  }
