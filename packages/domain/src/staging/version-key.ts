/** Numbers before the qualifier; shorter versions count as if they ended in zeros. */
const PARTS = 4
const EARLIER = -2n
const DEVELOPMENT = -1n
const PRERELEASE = 0n
const RELEASE = 1n
const POST = 2n
/** Names sort after all numbers, as semver has it; no number of a version is as large. */
const FIRST_NAME = 10n ** 15n
const LETTERS = 8
const BASE = 38n
const RELEASED = /^(final|ga|release|jre|android|jdk\d*|incompatible)$/i
const MAX_BIGINT = 9_223_372_036_854_775_807n

/**
 * A version as numbers that compare, one after another, as the versions of npm, PyPI, Go, Maven, RubyGems and Composer do: four numbers,
 * then whether it is a preview, a release or a later build of it, then what tells previews apart.
 */
export function versionKey(version: string): bigint[] {
  const { numbers, rank, qualifiers } = read(version)
  return [...numbers, rank, ...qualifiers]
}

/** The lowest key that any preview of a version could have: where the versions before it end. */
export function keyBeforeAll(numbers: readonly bigint[]): bigint[] {
  return [...pad(numbers), EARLIER]
}

/** Compares two keys as Postgres compares arrays. */
export function compareKeys(a: readonly bigint[], b: readonly bigint[]): number {
  for (let i = 0; i < Math.min(a.length, b.length); i++) {
    const [left = 0n, right = 0n] = [a[i], b[i]]
    if (left !== right) return left < right ? -1 : 1
  }
  return a.length - b.length
}

/** The numbers that a version begins with, as many as it has, four at most. */
export function leadingNumbers(version: string): bigint[] {
  const match = /^\s*(?:v|go)?(\d+(?:\.\d+)*)/i.exec(version)
  return (match?.[1] ?? '')
    .split('.')
    .filter((part) => part !== '')
    .slice(0, PARTS)
    .map(bounded)
}

function read(version: string): { numbers: bigint[]; rank: bigint; qualifiers: bigint[] } {
  const text = version.trim().replace(/^[=v]+(?=\d)/i, '')
  const [withoutBuild = ''] = text.replace(/^\d+!/, '').split('+')
  const head = /^\d+(\.\d+)*/.exec(withoutBuild)?.[0] ?? ''
  const numbers = pad(head.split('.').filter(Boolean).slice(0, PARTS).map(bounded))
  const more = head.split('.').slice(PARTS).map(bounded)
  const rest = withoutBuild.slice(head.length).replace(/^[-._]/, '')
  const words = rest.toLowerCase().match(/\d+|[a-z]+/g) ?? []
  const qualifiers = words.map((word) => (/^\d/.test(word) ? bounded(word) : nameKey(word)))
  const rank = rankOf(words)
  // Of a release its qualifier (RELEASE, Final, jre) says nothing about which is newer.
  return { numbers, rank, qualifiers: rank === RELEASE ? more : [...more, ...qualifiers] }
}

function rankOf(words: readonly string[]): bigint {
  const [first] = words
  if (first === undefined || RELEASED.test(first)) return RELEASE
  if (first === 'post' || first === 'sp' || first === 'patch' || first === 'p') return POST
  if (first === 'dev') return DEVELOPMENT
  return PRERELEASE
}

const pad = (numbers: readonly bigint[]): bigint[] => Array.from({ length: PARTS }, (_, i) => numbers[i] ?? 0n)

function bounded(digits: string): bigint {
  const value = BigInt(digits)
  return value >= FIRST_NAME ? FIRST_NAME - 1n : value
}

/** Its first letters as a number that sorts like them. */
function nameKey(word: string): bigint {
  const short = word === 'c' || word === 'cr' ? 'rc' : word === 'm' ? 'milestone' : word
  let value = 0n
  for (let i = 0; i < LETTERS; i++) {
    const code = short.charCodeAt(i)
    value = value * BASE + (Number.isNaN(code) ? 0n : BigInt(code - 96))
  }
  const key = FIRST_NAME + value
  return key > MAX_BIGINT ? MAX_BIGINT : key
}
