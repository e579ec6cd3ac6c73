import type { RouterAnswer } from './router-answer.js'
import type { AttemptError } from '../failures.js'
import type { Handler } from './handler.js'
import type { RawHeaders } from './raw-headers.js'

/** Where a request is sent. Connections are pooled by `key`, so that an address given to another instance never meets an old connection. */
export interface Target {
  readonly key: string
  readonly host: string
  readonly port: number
  /** Present: dialled by TLS, and only a certificate of that instance is good. */
  readonly tls?: { readonly serverName: string; readonly instanceGuid: string }
}

/** What to do next for a request that is to be passed on. */
export type NextTry =
  /** `fresh`: not on a connection that was used before. */
  | { readonly do: 'try'; readonly target: Target; readonly fresh: boolean }
  /** The endpoint speaks something that the data plane does not. */
  | { readonly do: 'handle'; readonly handler: Handler }
  | { readonly do: 'wait'; readonly forMs: number }
  | { readonly do: 'answer'; readonly answer: RouterAnswer }

/**
 * The policy by which one request finds its target: asked before each attempt, told how each went. It sets on the exchange what
 * the chosen target shall read. The data plane calls `next`, then `failed` or `answered` for each try, and `end` once, whatever
 * happens.
 */
export interface Forwarding {
  next(): NextTry
  /** The attempt failed; what comes now is `next`'s to say. */
  failed(error: AttemptError): void
  /** The head of the answer is there: adds the fields that the client shall see besides the target's own. */
  answered(headers: RawHeaders): void
  /** The connection has switched protocols; it may stay for days. */
  switched(): void
  /** The request is over. */
  end(): void
}

/** host:port, IPv6 in brackets. */
export function parseAddress(address: string): { host: string; port: number } {
  const at = address.lastIndexOf(':')
  return { host: address.slice(0, at).replace(/^\[|\]$/g, ''), port: Number(address.slice(at + 1)) }
}
