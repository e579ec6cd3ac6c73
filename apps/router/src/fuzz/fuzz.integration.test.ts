import { describe, expect, it } from '@jest/globals'
import { fuzzAnswers } from './fuzz-answers.fixture.js'
import { fuzz } from './fuzz.fixture.js'
import { seedsFor } from './seeds.fixture.js'

/** For requests, a third of it for answers. Longer by hand: npm run fuzz:router. */
const SECONDS = Number(process.env['ROUTER_FUZZ_SECONDS'] ?? 45)
/** The tree's own seeds; random ones with the longer suites or by `ROUTER_FUZZ_SEED=random`. A number there repeats a case. */
const { seeds, most } = seedsFor(process.env['ROUTER_FUZZ_SEED'], process.env['BLOOMERY_TEST_FULL'] !== undefined)

type Fuzz = (options: { readonly forMs: number; readonly seed: number; readonly most: number }) => Promise<number>

/** Shares the time among the seeds; each is told before it begins. */
async function casesOf(what: string, run: Fuzz, seconds: number): Promise<void> {
  for (const seed of seeds) {
    process.stdout.write(`${what} from seed ${seed}\n`)
    const cases = await run({ forMs: (seconds * 1000) / seeds.length, seed, most })
    process.stdout.write(`${cases} ${what} from seed ${seed}\n`)
    expect(cases).toBeGreaterThan(0)
  }
}

describe('bytes of all kinds', () => {
  it(
    'are read as a strict reader and the plain plane read them, or refused',
    () => casesOf('requests', fuzz, SECONDS),
    SECONDS * 1000 + 60_000,
  )

  it(
    'that instances send reach clients as a strict reader and the plain plane read them, or not at all',
    () => casesOf('answers', fuzzAnswers, SECONDS / 3),
    SECONDS * 1000 + 60_000,
  )
})
