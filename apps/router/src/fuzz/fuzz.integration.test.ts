import { describe, expect, it } from '@jest/globals'
import { fuzzAnswers } from './fuzz-answers.fixture.js'
import { fuzz } from './fuzz.fixture.js'

/** For requests, a third of it for answers. Longer by hand: npm run fuzz:router. A seed in the variable repeats a case. */
const SECONDS = Number(process.env['ROUTER_FUZZ_SECONDS'] ?? 45)
const SEED = Number(process.env['ROUTER_FUZZ_SEED'] ?? Date.now() % 1_000_000_000)

describe('bytes of all kinds', () => {
  it(
    'are read as a strict reader and the plain plane read them, or refused',
    async () => {
      const cases = await fuzz({ forMs: SECONDS * 1000, seed: SEED })
      process.stdout.write(`${cases} cases from seed ${SEED}\n`)
      expect(cases).toBeGreaterThan(0)
    },
    SECONDS * 1000 + 60_000,
  )

  it(
    'that instances send reach clients as a strict reader and the plain plane read them, or not at all',
    async () => {
      const cases = await fuzzAnswers({ forMs: (SECONDS * 1000) / 3, seed: SEED })
      process.stdout.write(`${cases} answers from seed ${SEED}\n`)
      expect(cases).toBeGreaterThan(0)
    },
    SECONDS * 1000 + 60_000,
  )
})
