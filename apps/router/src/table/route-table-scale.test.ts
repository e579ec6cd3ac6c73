import { randomUUID } from 'node:crypto'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, it } from '@jest/globals'
import { RouteEntry } from '@bloomery/contracts'
import { RouteTable } from './route-table.js'

const ROUTES = 100_000
const SPACES = Array.from({ length: 200 }, () => randomUUID())

/** As the feed has it: apps with one route and one instance each, so that routes share as little as can be. */
function asText(i: number, port = 8080): string {
  const [appGuid, instanceGuid] = [randomUUID(), randomUUID().slice(0, 28)]
  return JSON.stringify({
    routeGuid: `${String(i).padStart(8, '0')}-${randomUUID().slice(9)}`,
    host: `app-number-${i}.apps.example.com`,
    path: '',
    protocol: 'http',
    options: {},
    endpoints: [
      {
        instanceGuid,
        appGuid,
        appName: `app-number-${i}`,
        spaceGuid: SPACES[i % SPACES.length],
        organizationGuid: SPACES[i % 20],
        processGuid: appGuid,
        processType: 'web',
        index: 0,
        cellId: `cell-${i % 50}`,
        localAddress: `10.255.${(i >> 8) & 255}.${i & 255}:${port}`,
        hostAddress: `10.0.0.5:${10_000 + (i % 50_000)}`,
        protocol: 'http1',
      },
    ],
  })
}

describe('a table of 100,000 routes', () => {
  setFlagsFromString('--expose-gc')
  const collect = runInNewContext('gc') as () => void
  const parsed = function* (): Generator<RouteEntry> {
    for (let i = 0; i < ROUTES; i++) yield RouteEntry.parse(JSON.parse(asText(i)))
  }

  it('takes at most 500 bytes a route, finds one in a microsecond, and takes changes at once', () => {
    const table = new RouteTable()
    collect()
    const before = process.memoryUsage().heapUsed
    let part: RouteEntry[] = []
    let revision = 0
    for (const route of parsed()) {
      part.push(route)
      if (part.length === 1000) {
        table.change(part, [], { epoch: '1', revision: ++revision })
        part = []
      }
    }
    collect()
    const bytes = (process.memoryUsage().heapUsed - before) / ROUTES
    expect(table.size).toBe(ROUTES)

    const hosts = Array.from({ length: 10_000 }, (_, i) => `app-number-${(i * 7919) % ROUTES}.apps.example.com`)
    const rounds = Array.from({ length: 5 }, () => {
      const startedAt = performance.now()
      for (const host of hosts) if (!table.find(host, '/some/path?query')) throw new Error(`${host} was not found`)
      return ((performance.now() - startedAt) * 1000) / hosts.length
    })
    const lookupUs = Math.min(...rounds)

    const { routes } = table.contents() ?? { routes: [] }
    const changes = Array.from({ length: 9 }, (_, i) => {
      const old = routes[i * 1000]
      if (!old) throw new Error('no such route')
      const moved = RouteEntry.parse({ ...(JSON.parse(asText(i * 1000, 9090)) as object), routeGuid: old.routeGuid })
      const startedAt = performance.now()
      table.change([moved], [], { epoch: '1', revision: ++revision })
      return performance.now() - startedAt
    }).sort((a, b) => a - b)
    const again = JSON.parse(JSON.stringify(table.contents()?.routes ?? [])) as RouteEntry[]
    const startedAt = performance.now()
    table.snapshot(again, { epoch: '2', revision: 1 })
    const snapshotMs = performance.now() - startedAt

    if (process.env['BLOOMERY_TEST_FIGURES'])
      process.stdout.write(`${JSON.stringify({ bytes, lookupUs, changeMs: changes[4], snapshotMs })}\n`)
    // Times are generous: the machine may be busy.
    expect({
      bytes: bytes <= 500,
      lookupUs: lookupUs <= 8,
      changeMs: (changes[4] ?? 0) < 100,
      snapshotMs: snapshotMs < 3000,
    }).toEqual({
      bytes: true,
      lookupUs: true,
      changeMs: true,
      snapshotMs: true,
    })
  })
})
