/** A range of ports, both ends included. */
export interface PortRange {
  readonly first: number
  readonly last: number
}

const LOWEST = 1024
const HIGHEST = 65_535

/** Reads "1024-1033,2000"; undefined where that is not what it says, a port lies below 1024 or above 65535, or ranges overlap. */
export function parsePortRanges(text: string): readonly PortRange[] | undefined {
  if (text.trim() === '') return []
  const ranges = text.split(',').map((part): PortRange | undefined => {
    const match = /^\s*(\d{1,5})(?:-(\d{1,5}))?\s*$/.exec(part)
    if (!match) return undefined
    const first = Number(match[1])
    const last = Number(match[2] ?? match[1])
    return first >= LOWEST && last <= HIGHEST && first <= last ? { first, last } : undefined
  })
  const sound = ranges.filter((range) => range !== undefined).sort((a, b) => a.first - b.first)
  if (sound.length < ranges.length) return undefined
  return sound.some(({ first }, i) => first <= (sound[i - 1]?.last ?? 0)) ? undefined : sound
}

export const includesPort = (ranges: readonly PortRange[], port: number): boolean =>
  ranges.some(({ first, last }) => port >= first && port <= last)

/** Every port of the ranges, ascending. */
export const portsOf = (ranges: readonly PortRange[]): number[] =>
  ranges.flatMap(({ first, last }) => Array.from({ length: last - first + 1 }, (_, i) => first + i))

/** Whether every port of `inner` is one of `outer`. */
export const coversPorts = (outer: readonly PortRange[], inner: readonly PortRange[]): boolean =>
  portsOf(inner).every((port) => includesPort(outer, port))

/** A port that is not taken, by a number from 0 up to (not including) 1; undefined when all are. */
export function pickPort(ranges: readonly PortRange[], taken: ReadonlySet<number>, random: number): number | undefined {
  const free = portsOf(ranges).filter((port) => !taken.has(port))
  return free[Math.floor(random * free.length)]
}
