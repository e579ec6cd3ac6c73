import { keyBeforeAll, leadingNumbers, versionKey } from './version-key.js'

/** A stretch of versions, by their keys. Absent ends are open. */
export interface VersionSpan {
  readonly from?: { readonly key: readonly bigint[]; readonly inclusive: boolean }
  readonly to?: { readonly key: readonly bigint[]; readonly inclusive: boolean }
}

/** A text that is no range; the message is for the user. */
export class VersionRangeError extends Error {
  override readonly name = 'VersionRangeError'
}

/**
 * The spans of versions that a range means, of which one must hold. Understands npm's (`^1.2`, `~1.2.3`, `1.x`, `>=1 <2`, `1 || 2`, `1.0 - 2.0`),
 * Python's and Ruby's (`~=1.4`, `~>1.4`, `==1.2.*`, `>=1,<2`) and Maven's (`[1.0,2.0)`, `(,2.17.1)`) ways of writing. `*` and nothing mean all.
 */
export function parseVersionRange(range: string): VersionSpan[] {
  const text = range.trim()
  const intervals = text.match(/[[(][^\])]*[\])]/g)
  if (intervals && intervals.join('').length === text.replace(/(?<=[\])])\s*,\s*(?=[[(])|\s+(?=[[(])/g, '').length)
    return intervals.map(parseInterval)
  return text.split('||').map((part) => narrow(part.trim(), range))
}

function parseInterval(text: string): VersionSpan {
  const [low = '', high] = text
    .slice(1, -1)
    .split(',')
    .map((part) => part.trim())
  const [openLow, openHigh] = [text.startsWith('('), text.endsWith(')')]
  if (high === undefined) return { from: at(low, true), to: at(low, true) }
  return {
    ...(low === '' ? {} : { from: at(low, !openLow) }),
    ...(high === '' ? {} : { to: at(high, !openHigh) }),
  }
}

function narrow(part: string, whole: string): VersionSpan {
  const hyphen = /^(\S+)\s+-\s+(\S+)$/.exec(part)
  if (hyphen?.[1] !== undefined && hyphen[2] !== undefined)
    return { ...pick('from', at(hyphen[1], true), undefined), ...pick('to', span('', hyphen[2], whole).to, undefined) }
  const words = part.replace(/(~=|~>|[<>=!^~]+)\s+/g, '$1').split(/[\s,]+/)
  return words
    .filter((word) => word !== '')
    .map((word) => {
      const match = /^(~=|~>|>=|<=|===|==|=|>|<|\^|~)?(.*)$/.exec(word)
      return span(match?.[1] ?? '', match?.[2] ?? '', whole)
    })
    .reduce(intersect, {})
}

function span(operator: string, version: string, whole: string): VersionSpan {
  if (/^[*xX]?$/.test(version) && operator === '') return {}
  if (!/^(v|go)?\d/i.test(version))
    throw new VersionRangeError(
      `'${whole}' is not a range of versions; write for example '<2.17.1', '^4.0.0', '1.2.x' or '[1.0,2.0)'`,
    )
  const numbers = leadingNumbers(version)
  switch (operator) {
    case '>=':
      return { from: at(version, true) }
    case '>':
      return { from: at(version, false) }
    case '<':
      return { to: at(version, false) }
    case '<=':
      return { to: at(version, true) }
    case '^':
      return between(version, raised(numbers, Math.max(0, firstSignificant(numbers))))
    case '~':
      return between(version, raised(numbers, Math.min(1, numbers.length - 1)))
    case '~>':
    case '~=':
      return between(version, raised(numbers, Math.max(0, numbers.length - 2)))
    default:
      return isWhole(version)
        ? { from: at(version, true), to: at(version, true) }
        : { from: { key: keyBeforeAll(numbers), inclusive: true }, to: raised(numbers, numbers.length - 1) }
  }
}

/** Names one version, not a line of them. */
const isWhole = (version: string): boolean => !/[xX*]/.test(version) && leadingNumbers(version).length >= 3

const firstSignificant = (numbers: readonly bigint[]): number => {
  const found = numbers.findIndex((number) => number > 0n)
  return found < 0 ? numbers.length - 1 : found
}

const at = (version: string, inclusive: boolean) => ({ key: versionKey(version), inclusive })

/** Where the versions that begin with the numbers up to `place` end. */
const raised = (numbers: readonly bigint[], place: number) => ({
  key: keyBeforeAll(numbers.slice(0, place + 1).map((number, i) => (i === place ? number + 1n : number))),
  inclusive: false,
})

const between = (version: string, to: NonNullable<VersionSpan['to']>): VersionSpan => ({ from: at(version, true), to })

const intersect = (a: VersionSpan, b: VersionSpan): VersionSpan => ({
  ...pick('from', a.from, b.from),
  ...pick('to', a.to, b.to),
})

/** Of two ends on the same side the one that leaves less. */
function pick<K extends 'from' | 'to'>(side: K, a: VersionSpan[K], b: VersionSpan[K]): Partial<Record<K, VersionSpan[K]>> {
  if (!a || !b) return (a ?? b) ? ({ [side]: a ?? b } as Record<K, VersionSpan[K]>) : {}
  const larger = later(a.key, b.key) ? a : b
  const smaller = larger === a ? b : a
  return { [side]: side === 'from' ? larger : smaller } as Record<K, VersionSpan[K]>
}

function later(a: readonly bigint[], b: readonly bigint[]): boolean {
  for (let i = 0; i < Math.min(a.length, b.length); i++) if (a[i] !== b[i]) return (a[i] ?? 0n) > (b[i] ?? 0n)
  return a.length >= b.length
}
