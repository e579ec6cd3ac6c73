import { describe, expect, it } from '@jest/globals'
import fc from 'fast-check'
import { chooseByHash, hashText, maglevTable, type HashChoice } from './hash-routing.js'

const names = (count: number): string[] => Array.from({ length: count }, (_, i) => `instance-${i}`)
const owners = (list: readonly string[]): (string | undefined)[] => [...maglevTable(list)].map((number) => list[number])

describe('maglevTable', () => {
  it.each([1, 2, 3, 10, 50])('shares its places evenly among %i', (count) => {
    const places = new Map<string | undefined, number>()
    for (const owner of owners(names(count))) places.set(owner, (places.get(owner) ?? 0) + 1)
    expect(places.size).toBe(count)
    expect(Math.max(...places.values()) - Math.min(...places.values())).toBeLessThanOrEqual(1)
  })

  it('moves few places of the others when one goes, and none by order', () =>
    fc.assert(
      fc.property(fc.integer({ min: 3, max: 20 }), fc.nat(), (count, pick) => {
        const all = names(count)
        const before = owners(all)
        expect(owners([...all].reverse())).toEqual(before)
        const gone = all[pick % count]
        const after = owners(all.filter((name) => name !== gone))
        const moved = before.filter((owner, i) => owner !== gone && owner !== after[i]).length
        expect(moved / before.length).toBeLessThan(0.35)
      }),
      { numRuns: 30 },
    ))
})

describe('chooseByHash', () => {
  interface Endpoint {
    readonly name: string
  }
  const endpoints = names(3).map((name) => ({ name }))
  const choice = (
    value: string,
    over: { tried?: string[]; failed?: string[]; load?: Record<string, number>; balance?: number; limit?: number } = {},
  ): HashChoice<Endpoint> => ({
    endpoints,
    table: maglevTable(names(3)),
    value,
    balance: over.balance ?? 0,
    isTried: ({ name }) => over.tried?.includes(name) ?? false,
    isFailed: ({ name }) => over.failed?.includes(name) ?? false,
    inFlight: ({ name }) => over.load?.[name] ?? 0,
    ...(over.limit === undefined ? {} : { limit: over.limit }),
  })
  const owner = chooseByHash(choice('tenant'))?.name ?? ''
  const others = names(3).filter((name) => name !== owner)

  it('leads a value to one endpoint, and to another when that cannot serve', () => {
    expect(chooseByHash(choice('tenant'))?.name).toBe(owner)
    const second = chooseByHash(choice('tenant', { tried: [owner] }))?.name
    expect(others).toContain(second)
    expect(chooseByHash(choice('tenant', { failed: [owner] }))?.name).toBe(second)
    expect(chooseByHash(choice('tenant', { load: { [owner]: 5 }, limit: 5 }))?.name).toBe(second)
    expect(chooseByHash(choice('tenant', { failed: names(3) }))?.name).toBe(owner)
    expect(chooseByHash(choice('tenant', { tried: names(3) }))).toBeUndefined()
    expect(chooseByHash({ ...choice('tenant'), endpoints: [] })).toBeUndefined()
  })

  it('keeps an endpoint from more than its share', () => {
    expect(chooseByHash(choice('tenant', { load: { [owner]: 9 } }))?.name).toBe(owner)
    expect(chooseByHash(choice('tenant', { load: { [owner]: 9 }, balance: 1.3 }))?.name).not.toBe(owner)
    const all = Object.fromEntries(names(3).map((name) => [name, 10]))
    expect(chooseByHash(choice('tenant', { load: all, balance: 1.1 }))?.name).toBe(owner)
  })

  it('spreads values', () => {
    const seen = new Map<string, number>()
    for (let i = 0; i < 3000; i++) {
      const { name } = chooseByHash(choice(`user-${i}`)) ?? { name: '' }
      seen.set(name, (seen.get(name) ?? 0) + 1)
    }
    for (const count of seen.values()) expect(Math.abs(count - 1000)).toBeLessThan(150)
    expect(hashText('a')).not.toBe(hashText('b'))
  })
})
