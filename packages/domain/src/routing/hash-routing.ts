import type { EndpointStates } from './choose-endpoint.js'

/** A prime: every step width then visits every place. */
const TABLE_SIZE = 1801

/** Places of a ring that requests are hashed to, each with the number of an endpoint. */
export type MaglevTable = Uint16Array

/**
 * Shares the places evenly among endpoints (Maglev): each puts its wishes in an order of its own and they take turns, so that one
 * that comes or goes moves few places of the others. The order of the names is of no meaning.
 */
export function maglevTable(names: readonly string[], size = TABLE_SIZE): MaglevTable {
  const table = new Uint16Array(size)
  if (names.length === 0) return table
  const order = names.map((name, number) => ({ name, number })).sort((a, b) => (a.name < b.name ? -1 : 1))
  const wishes = order.map(({ name, number }) => ({
    number,
    at: hashText(name) % size,
    step: (hashText(`${name}#step`) % (size - 1)) + 1,
  }))
  const taken = new Uint8Array(size)
  for (let filled = 0; ;)
    for (const wish of wishes) {
      while (taken[wish.at] === 1) wish.at = (wish.at + wish.step) % size
      taken[wish.at] = 1
      table[wish.at] = wish.number
      if (++filled === size) return table
    }
}

/** FNV-1a with a final mix, 32 bits. */
export function hashText(text: string): number {
  let hash = 0x81_1c_9d_c5
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01_00_01_93)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85_eb_ca_6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2_b2_ae_35)
  return (hash ^ (hash >>> 16)) >>> 0
}

export interface HashChoice<E> extends EndpointStates<E> {
  readonly endpoints: readonly E[]
  /** Made of the same endpoints. */
  readonly table: MaglevTable
  /** Value of the route's hash header. */
  readonly value: string
  /** How far above the average of requests under way an endpoint may be, e.g. 1.3; 0: as far as it likes. */
  readonly balance: number
}

/**
 * The endpoint that this value belongs to; the next ones of the ring when that was tried, has failed, is at its limit or has more than
 * its share. Where only balance or failure marks stand in the way of all, they are ignored in this order.
 */
export function chooseByHash<E>(choice: HashChoice<E>): E | undefined {
  const { endpoints, table, balance, limit = 0 } = choice
  if (endpoints.length === 0) return undefined
  const average = (endpoints.reduce((sum, endpoint) => sum + choice.inFlight(endpoint), 0) + 1) / endpoints.length
  const share = balance > 0 ? Math.ceil(average * balance) : Infinity
  const start = hashText(choice.value) % table.length
  const seen = new Set<number>()
  let busy: E | undefined
  let failed: E | undefined
  for (let step = 0; step < table.length && seen.size < endpoints.length; step++) {
    const number = table[(start + step) % table.length] ?? 0
    if (seen.has(number)) continue
    seen.add(number)
    const endpoint = endpoints[number]
    if (endpoint === undefined || choice.isTried(endpoint)) continue
    const inFlight = choice.inFlight(endpoint)
    if (limit > 0 && inFlight >= limit) continue
    if (choice.isFailed(endpoint)) failed ??= endpoint
    else if (inFlight >= share) busy ??= endpoint
    else return endpoint
  }
  return busy ?? failed
}
