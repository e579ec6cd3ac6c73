/** An IP address as a number of 32 or 128 bits. */
export interface IpAddress {
  readonly family: 4 | 6
  readonly value: bigint
}

/** A network: the addresses that share its first `bits` bits. */
export interface IpNetwork {
  readonly address: IpAddress
  readonly bits: number
}

/** Reads an address in its usual text form (`10.0.0.1`, `fe80::1%eth0`, `::ffff:10.0.0.1`, `[::1]`); undefined for anything else, also for 0-led or shortened IPv4. */
export function parseIpAddress(text: string): IpAddress | undefined {
  const bare = /^\[(.*)\]$/.exec(text)?.[1] ?? text
  if (!bare.includes(':')) {
    const value = parseV4(bare)
    return value === undefined ? undefined : { family: 4, value }
  }
  const value = parseV6(bare.replace(/%[^%]*$/, ''))
  return value === undefined ? undefined : { family: 6, value }
}

/** Reads `address/bits`, or a single address as a network of its own. */
export function parseIpNetwork(text: string): IpNetwork | undefined {
  const [, host, prefix] = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(text) ?? []
  const address = host === undefined ? undefined : parseIpAddress(host)
  if (!address) return undefined
  const width = widthOf(address)
  const bits = prefix === undefined ? width : Number(prefix)
  return bits > width ? undefined : { address, bits }
}

export function isInNetwork(address: IpAddress, network: IpNetwork): boolean {
  if (address.family !== network.address.family) return false
  const shift = BigInt(widthOf(address) - network.bits)
  return address.value >> shift === network.address.value >> shift
}

const widthOf = ({ family }: IpAddress): number => (family === 4 ? 32 : 128)

function parseV4(text: string): bigint | undefined {
  const parts = text.split('.')
  if (parts.length !== 4 || !parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) < 256)) return undefined
  return parts.reduce((value, part) => (value << 8n) | BigInt(part), 0n)
}

function parseV6(text: string): bigint | undefined {
  const halves = text.split('::')
  if (halves.length > 2) return undefined
  const [head, tail] = halves.map(parseGroups)
  if (!head || (halves.length === 2 && !tail)) return undefined
  const missing = 8 - head.length - (tail?.length ?? 0)
  if (halves.length === 2 ? missing < 1 : missing !== 0) return undefined
  const groups = [...head, ...Array<bigint>(missing).fill(0n), ...(tail ?? [])]
  return groups.reduce((value, group) => (value << 16n) | group, 0n)
}

/** 16-bit groups; the last of a half may be an IPv4 address, which counts as two. */
function parseGroups(text: string): bigint[] | undefined {
  if (text === '') return []
  const groups: bigint[] = []
  const parts = text.split(':')
  for (const [at, part] of parts.entries()) {
    const v4 = at === parts.length - 1 && part.includes('.') ? parseV4(part) : undefined
    if (v4 !== undefined) groups.push(v4 >> 16n, v4 & 0xffffn)
    else if (/^[0-9a-f]{1,4}$/i.test(part)) groups.push(BigInt(`0x${part}`))
    else return undefined
  }
  return groups
}
