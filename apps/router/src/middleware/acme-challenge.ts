import type { Step } from '../proxy/disposition.js'

/** An answer to a certificate authority that looks whether a name is ours. */
export interface AcmeChallenge {
  readonly name: string
  readonly token: string
  readonly keyAuthorization: string
}

const PREFIX = '/.well-known/acme-challenge/'

/** Answers for the platform while it orders a certificate for the name; apps that order their own get all else. */
export const acmeChallenge =
  (challenges: () => readonly AcmeChallenge[]): Step =>
  (exchange) => {
    if (!exchange.target.startsWith(PREFIX)) return undefined
    const token = exchange.target.slice(PREFIX.length)
    const found = challenges().find((each) => each.token === token && each.name === exchange.host)
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
