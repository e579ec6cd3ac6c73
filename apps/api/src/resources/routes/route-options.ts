import { z } from 'zod'
import { CfError } from '@bloomery/contracts'

const ALGORITHMS = ['round-robin', 'least-connection', 'hash']
const HASH_KEYS = ['hash_header', 'hash_balance']
/** As they come: null takes an option away. Numbers are taken as text, which is how they are kept. */
export const RouteOptionsInput = z.record(z.string(), z.union([z.string(), z.number(), z.null()]))
export type RouteOptionsInput = z.infer<typeof RouteOptionsInput>
export type RouteOptions = Record<string, string>

/** A TCP route with this option is for TLS connections to its own host and domain alone; others share its port. */
const SERVER_NAME = 'sni'
export const choosesByServerName = (options: RouteOptions | undefined): boolean => options?.[SERVER_NAME] === 'true'

export interface RouteOptionRules {
  /** Whether the feature flag for hash-based routing is on. */
  readonly hashRouting: boolean
  readonly tcp: boolean
}

/** The options after a change, or the reason why not. */
export function mergeRouteOptions(
  present: unknown,
  change: RouteOptionsInput | undefined,
  { hashRouting, tcp }: RouteOptionRules,
): RouteOptions {
  const merged: Record<string, string | number | null> = { ...(present as RouteOptions | null), ...change }
  const options = Object.fromEntries(
    Object.entries(merged).flatMap(([key, value]) => (value === null || value === '' ? [] : [[key, String(value)]])),
  )
  const byHash = hashRouting && !tcp
  const known = ['loadbalancing', ...(byHash ? HASH_KEYS : []), ...(tcp ? [SERVER_NAME] : [])]
  const algorithms = byHash ? ALGORITHMS : ALGORITHMS.slice(0, 2)
  const unknown = Object.keys(change ?? {}).filter((key) => !known.includes(key) && change?.[key] !== null)
  if (unknown.length > 0) throw bad(`Options Unknown field(s): '${unknown.join("', '")}'`)
  if (!['true', 'false', undefined].includes(options[SERVER_NAME])) throw bad("Options Sni must be 'true' or 'false' if present")
  const { loadbalancing } = options
  if (loadbalancing !== undefined && !algorithms.includes(loadbalancing))
    throw bad(`Options Loadbalancing must be one of '${algorithms.join(', ')}' if present`)
  if (loadbalancing !== 'hash') {
    if (change && HASH_KEYS.some((key) => change[key] != null))
      throw bad('Options Hash header and hash balance can only be set when loadbalancing is hash')
    for (const key of HASH_KEYS) delete options[key]
    return options
  }
  if (options['hash_header'] === undefined) throw bad('Hash header must be present when loadbalancing is set to hash.')
  const balance = options['hash_balance']
  if (balance !== undefined) {
    const number = Number(balance)
    if (Number.isNaN(number) || !(number === 0 || (number >= 1.1 && number <= 10)))
      throw bad('Options Hash balance must be either 0 or between 1.1 and 10.0')
  }
  return options
}

const bad = (detail: string): CfError => new CfError('UnprocessableEntity', detail)
