import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { areAllFull, balancingOf, chooseEndpoint, chooseStickyEndpoint, type EndpointChoice } from './choose-endpoint.js'
import { destinationSlices } from './destination-slices.js'

interface Endpoint {
  readonly instanceGuid: string
}
const endpoints: readonly Endpoint[] = ['a', 'b', 'c'].map((instanceGuid) => ({ instanceGuid }))
const choice = (
  over: { failed?: string; tried?: string; load?: Record<string, number> } & Partial<EndpointChoice<Endpoint>> = {},
): EndpointChoice<Endpoint> => ({
  endpoints,
  balancing: 'round-robin',
  cursor: 0,
  isFailed: ({ instanceGuid }) => (over.failed ?? '').includes(instanceGuid),
  isTried: ({ instanceGuid }) => (over.tried ?? '').includes(instanceGuid),
  inFlight: ({ instanceGuid }) => over.load?.[instanceGuid] ?? 0,
  ...over,
})

describe('chooseEndpoint', () => {
  it.each<[string, EndpointChoice<Endpoint>, string | undefined]>([
    ['begins at the cursor', choice({ cursor: 1 }), 'b'],
    ['wraps around', choice({ cursor: 5 }), 'c'],
    ['skips what failed', choice({ failed: 'a' }), 'b'],
    ['skips what was tried', choice({ cursor: 2, tried: 'c' }), 'a'],
    ['prefers sound over failed when some were tried', choice({ tried: 'a', failed: 'b' }), 'c'],
    ['ignores the marks when all have failed', choice({ failed: 'abc', cursor: 1 }), 'b'],
    ['gives up when all were tried', choice({ tried: 'abc' }), undefined],
    ['has nothing to choose', choice({ endpoints: [] }), undefined],
    ['takes the least busy', choice({ balancing: 'least-connection', load: { a: 2, b: 1, c: 1 } }), 'b'],
    ['passes over what is at its limit', choice({ limit: 2, load: { a: 2, b: 1 } }), 'b'],
    ['finds none when all are at their limit', choice({ limit: 1, load: { a: 1, b: 1, c: 3 } }), undefined],
    ['prefers its own zone', choice({ isPreferred: ({ instanceGuid }) => instanceGuid === 'c' }), 'c'],
    ['leaves its zone for a sound one', choice({ isPreferred: ({ instanceGuid }) => instanceGuid === 'c', failed: 'c' }), 'a'],
    [
      'prefers its zone among the failed',
      choice({ isPreferred: ({ instanceGuid }) => instanceGuid === 'c', failed: 'abc' }),
      'c',
    ],
    ['breaks a tie at the cursor', choice({ balancing: 'least-connection', load: { a: 2, b: 1, c: 1 }, cursor: 2 }), 'c'],
  ])('%s', (_name, input, expected) => expect(chooseEndpoint(input)?.instanceGuid).toBe(expected))

  it('visits every endpoint equally often', () =>
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 9 }), fc.nat(1000), (count, start) => {
        const list = Array.from({ length: count }, (_, i) => ({ instanceGuid: String(i) }))
        const seen = list.map((_, i) => chooseEndpoint({ ...choice(), endpoints: list, cursor: start + i })?.instanceGuid)
        expect(new Set(seen).size).toBe(count)
      }),
    ))
})

describe('weights between destinations', () => {
  const slices = [
    { from: 0, to: 2, weight: 80 },
    { from: 2, to: 3, weight: 20 },
  ]
  const share = (over: Partial<Parameters<typeof choice>[0]> = {}, rounds = 1000): Record<string, number> => {
    const counts: Record<string, number> = {}
    for (let cursor = 0; cursor < rounds; cursor++) {
      const guid = chooseEndpoint(choice({ ...over, destinations: slices, cursor }))?.instanceGuid ?? 'none'
      counts[guid] = (counts[guid] ?? 0) + 1
    }
    return counts
  }

  it('hold over any stretch of requests, and instances of one destination take turns', () => {
    const { a = 0, b = 0, c = 0 } = share()
    expect(Math.abs(c - 200)).toBeLessThan(10)
    expect(Math.abs(a - b)).toBeLessThan(60)
    const few = share({}, 10)
    expect(few['c']).toBeGreaterThanOrEqual(1)
    expect(few['c']).toBeLessThanOrEqual(3)
  })

  it('give way when a destination has nothing sound', () => {
    expect(share({ failed: 'ab' })).toEqual({ c: 1000 })
    expect(share({ tried: 'c' })['c']).toBeUndefined()
    expect(share({ failed: 'abc' })['c']).toBeGreaterThan(100)
    expect(share({ tried: 'abc' })).toEqual({ none: 1000 })
  })

  it('are read from the endpoints of each destination', () => {
    const endpoint = (appGuid: string, port: number, weight?: number) => ({
      appGuid,
      processType: 'web',
      localAddress: `10.0.0.1:${port}`,
      weight,
    })
    expect(destinationSlices([endpoint('a', 8080), endpoint('b', 8080)])).toBeUndefined()
    expect(
      destinationSlices([endpoint('a', 8080, 50), endpoint('a', 8080, 50), endpoint('a', 9090, 30), endpoint('b', 9090, 20)]),
    ).toEqual([
      { from: 0, to: 2, weight: 50 },
      { from: 2, to: 3, weight: 30 },
      { from: 3, to: 4, weight: 20 },
    ])
  })
})

describe('areAllFull', () => {
  it.each([
    [{ a: 1, b: 1, c: 1 }, 1, true],
    [{ a: 1, b: 0, c: 1 }, 1, false],
    [{ a: 9, b: 9, c: 9 }, 0, false],
  ])('%j of %i → %s', (load, limit, expected) => expect(areAllFull(choice({ load, limit }), endpoints)).toBe(expected))
})

describe('chooseStickyEndpoint', () => {
  it.each<[string, string | undefined, EndpointChoice<Endpoint>, string | undefined]>([
    ['takes the named instance', 'b', choice(), 'b'],
    ['knows no instance that is gone', 'z', choice(), undefined],
    ['passes over a failed one', 'b', choice({ failed: 'b' }), undefined],
    ['passes over a tried one', 'b', choice({ tried: 'b' }), undefined],
    ['passes over one at its limit', 'b', choice({ limit: 1, load: { b: 1 } }), undefined],
    ['does nothing without a session', undefined, choice(), undefined],
  ])('%s', (_name, guid, input, expected) => expect(chooseStickyEndpoint(guid, input)?.instanceGuid).toBe(expected))
})

describe('balancingOf', () => {
  it('falls back on round robin', () => {
    expect(balancingOf('least-connection')).toBe('least-connection')
    expect(balancingOf('hash')).toBe('hash')
    expect(balancingOf('sideways')).toBe('round-robin')
    expect(balancingOf(undefined)).toBe('round-robin')
  })
})
