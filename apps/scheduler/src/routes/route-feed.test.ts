import { describe, expect, it } from '@jest/globals'
import type { RouteEntry } from '@bloomery/contracts'
import fc from 'fast-check'
import { RouteFeed } from './route-feed.js'

const anEntry = (guid: number, instances: readonly number[]): RouteEntry => ({
  routeGuid: `r${guid}`,
  host: `h${guid}`,
  path: '',
  protocol: 'http',
  options: {},
  endpoints: instances.map((each) => ({
    instanceGuid: `i${each}`,
    appGuid: 'a',
    appName: 'a',
    spaceGuid: 's',
    organizationGuid: 'o',
    processGuid: 'p',
    processType: 'web',
    index: each,
    cellId: 'c',
    localAddress: `10.0.0.${each}:8080`,
    hostAddress: `h:${each}`,
    protocol: 'http1',
  })),
})

/** What a new subscriber is told. */
function tableOf(feed: RouteFeed): RouteEntry[] {
  const lines: string[] = []
  feed.subscribe({ send: (line) => void lines.push(line), end: () => undefined })?.()
  return lines
    .flatMap((line) => (JSON.parse(line) as { routes: RouteEntry[] }).routes)
    .sort((a, b) => (a.routeGuid < b.routeGuid ? -1 : 1))
}

const anySteps = fc.array(
  fc.record({
    set: fc.dictionary(fc.constantFrom('1', '2', '3', '4'), fc.uniqueArray(fc.integer({ min: 1, max: 5 }), { maxLength: 3 })),
    gone: fc.subarray(['1', '2', '3', '4']),
  }),
  { maxLength: 8 },
)

describe('RouteFeed', () => {
  it('publishes the same by changes as by the whole table: routes, withdrawn addresses, instances that are held', () =>
    fc.assert(
      fc.property(anySteps, (steps) => {
        const [whole, changes] = [new RouteFeed(), new RouteFeed()]
        const routes = new Map<string, RouteEntry>()
        for (const feed of [whole, changes]) feed.publish('1', feed.prepare('1', [])!)
        for (const { set, gone } of steps) {
          const removed = gone.filter((guid) => !(guid in set))
          for (const guid of removed) routes.delete(`r${guid}`)
          const upsert = Object.entries(set).map(([guid, instances]) => anEntry(Number(guid), instances))
          for (const entry of upsert) routes.set(entry.routeGuid, entry)
          const all = whole.prepare('1', [...routes.values()])
          const part = changes.prepareChange(
            '1',
            upsert,
            removed.map((guid) => `r${guid}`),
          )
          const sorted = (pending: typeof all) => pending?.withdrawn.map(({ address }) => address).sort()
          expect(sorted(part)).toEqual(sorted(all))
          if (all) whole.publish('1', all)
          if (part) changes.publish('1', part)
          expect(tableOf(changes)).toEqual(tableOf(whole))
          expect(changes.revision).toBe(whole.revision)
          const held = new Set([...routes.values()].flatMap(({ endpoints }) => endpoints.map(({ instanceGuid }) => instanceGuid)))
          for (const guid of ['i1', 'i2', 'i3', 'i4', 'i5']) expect(changes.holds(guid)).toBe(held.has(guid))
        }
      }),
    ))

  it('begins a new epoch with a snapshot, and says nothing where nothing has changed', () => {
    const feed = new RouteFeed()
    const entries = [anEntry(1, [1])]
    feed.publish('1', feed.prepare('1', entries)!)
    const told: string[] = []
    feed.subscribe({ send: (line) => void told.push((JSON.parse(line) as { type: string }).type), end: () => undefined })
    expect(feed.prepare('1', entries)).toBeUndefined()
    expect(feed.prepareChange('1', entries, ['r9'])).toBeUndefined()
    feed.publish('2', feed.prepare('2', entries)!)
    feed.publish('2', feed.prepareChange('2', [], ['r1'])!)
    expect(told).toEqual(['snapshot', 'snapshot', 'change'])
    expect(feed.routeCount).toBe(0)
  })
})
