import { randomUUID } from 'node:crypto'
import { beforeAll, describe, expect, it } from '@jest/globals'
import type { RouteEntry } from '@bloomery/contracts'
import { acquireLease, execute, rows, sql, type Lease } from '@bloomery/database/sql'
import { withPostgres } from '@bloomery/testing'
import { CellSessions } from '../cells/cell-sessions.js'
import { DatabaseClock } from '../clock.js'
import { Installation, type TestApp } from '../testing/installation.fixture.js'
import { RoutePublisher } from './publish-routes.js'
import { RouteFeed } from './route-feed.js'

const postgres = withPostgres()
let installation: Installation
let lease: Lease
beforeAll(async () => {
  installation = await new Installation(postgres.pool).prepare()
  const got = await acquireLease(postgres.pool, 'scheduler', 'me', 600_000)
  if (!got) throw new Error('no lease')
  lease = got
})

function newPublisher(feed: RouteFeed): RoutePublisher {
  const publisher = new RoutePublisher({
    pool: postgres.pool,
    lease,
    clock: new DatabaseClock(),
    feed,
    sessions: new CellSessions(),
  })
  publisher.useCells([])
  return publisher
}

function tableOf(feed: RouteFeed): RouteEntry[] {
  const lines: string[] = []
  feed.subscribe({ send: (line) => void lines.push(line), end: () => undefined })?.()
  return lines
    .flatMap((line) => (JSON.parse(line) as { routes: RouteEntry[] }).routes)
    .sort((a, b) => (a.routeGuid < b.routeGuid ? -1 : 1))
}

async function run(app: TestApp, index = 0): Promise<void> {
  const endpoint = {
    address: `10.255.0.${2 + index}`,
    hostAddress: '127.0.0.1',
    ports: [{ internal: 8080, external: 20_000 + index }],
  }
  await execute(
    postgres.pool,
    sql`INSERT INTO actual_instances (process_guid, spec_version, index, presence, app_guid, process_type, spec_guid, instance_guid, cell_id, state,
          state_since, routable, endpoint, memory_mb, disk_mb, lease_token)
        SELECT p.guid, s.version, ${index}, 'ordinary', p.app_guid, p.type, s.guid, ${randomUUID()}, 'c1', 'running', now(), true,
          ${JSON.stringify(endpoint)}, 64, 128, 1
        FROM processes p JOIN run_specs s ON s.guid = p.current_spec_guid WHERE p.guid = ${app.processGuid}`,
  )
}

describe('RoutePublisher', () => {
  it('publishes each kind of change without reading all routes, and what comes out is what reading them all gives', async () => {
    const { pool } = postgres
    const [app, other] = [await installation.startApp(), await installation.startApp()]
    const feed = new RouteFeed()
    const publisher = newPublisher(feed)
    await publisher.publish()
    const routeOf = (guid: string): RouteEntry | undefined => tableOf(feed).find(({ routeGuid }) => routeGuid === guid)
    /** A change made by somebody else, and then by how many routes the feed has changed. */
    const after = async (change: Promise<unknown>): Promise<{ upsert: number; remove: number }> => {
      const sent: { upsert: unknown[]; remove: unknown[] }[] = []
      const unsubscribe = feed.subscribe({
        send: (line) => void sent.push(JSON.parse(line) as (typeof sent)[number]),
        end: () => undefined,
      })
      await change
      await publisher.publish()
      unsubscribe?.()
      const fresh = new RouteFeed()
      await newPublisher(fresh).publish()
      expect(tableOf(feed)).toEqual(tableOf(fresh))
      return { upsert: sent[1]?.upsert.length ?? 0, remove: sent[1]?.remove.length ?? 0 }
    }
    expect(routeOf(app.routeGuid)).toMatchObject({ unserved: true, endpoints: [] })
    const [one, gone, none] = [
      { upsert: 1, remove: 0 },
      { upsert: 0, remove: 1 },
      { upsert: 0, remove: 0 },
    ]

    expect(await after(run(app))).toEqual(one)
    expect(routeOf(app.routeGuid)?.endpoints).toHaveLength(1)
    expect(routeOf(app.routeGuid)?.unserved).toBeUndefined()
    const extra = randomUUID()
    expect(
      await after(
        execute(
          pool,
          sql`INSERT INTO routes (guid, host, domain_guid, space_guid) SELECT ${extra}, 'extra', domain_guid, space_guid FROM routes LIMIT 1`,
        ),
      ),
    ).toEqual(none)
    const mapped = sql`INSERT INTO route_destinations (guid, route_guid, app_guid, weight) VALUES (${randomUUID()}, ${extra}, ${app.guid}, 100)`
    expect(await after(execute(pool, mapped))).toEqual(one)
    expect(await after(execute(pool, sql`UPDATE route_destinations SET weight = NULL WHERE route_guid = ${extra}`))).toEqual(one)
    expect(
      await after(execute(pool, sql`UPDATE routes SET options = '{"loadbalancing":"least-connection"}' WHERE guid = ${extra}`)),
    ).toEqual(one)
    expect(await after(execute(pool, sql`UPDATE apps SET name = 'renamed' WHERE guid = ${app.guid}`))).toEqual({
      upsert: 2,
      remove: 0,
    })
    expect(await after(execute(pool, sql`UPDATE domains SET name = 'other.example'`))).toEqual({ upsert: 3, remove: 0 })
    expect(await after(execute(pool, sql`UPDATE processes SET instances = 0 WHERE app_guid = ${other.guid}`))).toEqual(one)
    expect(routeOf(other.routeGuid)?.unserved).toBeUndefined()
    expect(await after(execute(pool, sql`UPDATE processes SET instances = 3 WHERE app_guid = ${other.guid}`))).toEqual(one)
    expect(await after(installation.stop(other))).toEqual(one)
    expect(await after(execute(pool, sql`UPDATE actual_instances SET routable = false`))).toEqual({ upsert: 2, remove: 0 })
    expect(await after(execute(pool, sql`UPDATE actual_instances SET routable = true`))).toEqual({ upsert: 2, remove: 0 })
    expect(await after(execute(pool, sql`UPDATE actual_instances SET state_since = now()`))).toEqual(none)
    expect(await after(execute(pool, sql`DELETE FROM route_destinations WHERE route_guid = ${extra}`))).toEqual(gone)
    expect(await after(execute(pool, sql`DELETE FROM actual_instances`))).toEqual(one)
    expect(await after(installation.delete(other))).toEqual(gone)
  })

  it('what was taken but not published is made good: all routes are read anew', async () => {
    const { pool } = postgres
    const feed = new RouteFeed()
    let isAway = false
    const clock = new DatabaseClock()
    const publisher = new RoutePublisher({
      pool,
      lease,
      clock,
      feed: Object.assign(feed, {
        publish: (...args: Parameters<RouteFeed['publish']>) => {
          if (isAway) throw new Error('gone')
          RouteFeed.prototype.publish.apply(feed, args)
        },
      }),
      sessions: new CellSessions(),
    })
    await publisher.publish()
    // Nothing before cells and their zones are known.
    expect(feed.epoch).toBeUndefined()
    publisher.useCells([])
    await publisher.publish()
    const before = feed.routeCount
    const app = await installation.startApp()
    isAway = true
    await expect(publisher.publish()).rejects.toThrow('gone')
    expect(await rows(pool, sql`SELECT 1 FROM route_changes`)).toEqual([])
    isAway = false
    await publisher.publish()
    expect(feed.routeCount).toBe(before + 1)
    expect(tableOf(feed).some(({ routeGuid }) => routeGuid === app.routeGuid)).toBe(true)
  })
})
