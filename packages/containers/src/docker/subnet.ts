import { createHash } from 'node:crypto'
import { networkInterfaces } from 'node:os'

export const toNumber = (address: string): number => address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0)
export const toAddress = (value: number): string => [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256).join('.')

/** A /20: addresses given by us to instances, and above them those that the engine gives to everything else. */
export interface Subnet {
  readonly cidr: string
  readonly gateway: string
  readonly engineRange: string
  readonly firstOfOurs: number
  readonly lastOfOurs: number
}

const SIZE = 4096

export function parseSubnet(cidr: string): Subnet {
  const base = toNumber(cidr.split('/')[0] ?? '')
  return {
    cidr,
    gateway: toAddress(base + 1),
    engineRange: `${toAddress(base + 3072)}/22`,
    firstOfOurs: base + 2,
    lastOfOurs: base + 3071,
  }
}

/** Candidates for an installation: the same each time, different for two installations, none that the machine itself is in. */
export function subnetCandidates(installation: string, count = 16): Subnet[] {
  const seed = createHash('sha256').update(installation).digest().readUInt32LE(0)
  const own = Object.values(networkInterfaces())
    .flat()
    .flatMap((entry) => (entry?.family === 'IPv4' ? [toNumber(entry.address)] : []))
  const candidates: Subnet[] = []
  for (let i = 0; candidates.length < count && i < 512; i++) {
    const slot = (seed + i * 7919) % (64 * 16)
    const base = toNumber('10.128.0.0') + slot * SIZE
    if (!own.some((address) => address >= base && address < base + SIZE)) candidates.push(parseSubnet(`${toAddress(base)}/20`))
  }
  return candidates
}

/** The next free number of a range, going round, so that what was given back is used again as late as can be. */
export class RoundRobin {
  private last: number
  constructor(
    private readonly first: number,
    private readonly end: number,
    start: number,
  ) {
    this.last = first + (start % (end - first + 1))
  }

  next(taken: (value: number) => boolean): number | undefined {
    const size = this.end - this.first + 1
    for (let i = 0; i < size; i++) {
      this.last = this.last >= this.end ? this.first : this.last + 1
      if (!taken(this.last)) return this.last
    }
    return undefined
  }
}
