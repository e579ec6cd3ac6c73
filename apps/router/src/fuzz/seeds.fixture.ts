/** What a run of the fuzzers begins with; each is the first of as many cases as `most`. */
export interface Seeds {
  readonly seeds: readonly number[]
  /** Cases from each seed, if the time lasts. */
  readonly most: number
}

/** Cases that `npm test` looks at: always the same ones, so that a commit fails for what it changes and not for what was drawn. */
const KNOWN: Seeds = { seeds: [17, 299_304_556, 301_466_304, 875_200_919], most: 1_000 }

/**
 * Which seeds to begin with: those of the tree, a number as given, or a random one (`random`, and with the longer suites), from which
 * the cases go on for as long as there is time.
 */
export function seedsFor(wanted: string | undefined, full: boolean): Seeds {
  const given = wanted !== undefined && /^\d{1,15}$/.test(wanted) ? Number(wanted) : undefined
  if (given !== undefined) return { seeds: [given], most: Infinity }
  if (wanted === 'random' || (wanted === undefined && full))
    return { seeds: [Math.floor(Math.random() * 1_000_000_000)], most: Infinity }
  if (wanted === undefined) return KNOWN
  throw new Error(`ROUTER_FUZZ_SEED is a number or "random", not "${wanted}"`)
}
