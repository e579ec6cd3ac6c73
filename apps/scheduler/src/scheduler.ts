import type { Server } from 'node:https'
import { randomUUID } from 'node:crypto'
import type { Nudge, NodeIdentity } from '@bloomery/contracts'
import type { Pool } from '@bloomery/database/sql'
import { createInternalServer, createTimestamps, type LogSender } from '@bloomery/feeds'
import type { Keyring } from '@bloomery/secrets'
import type { Logger } from '@bloomery/telemetry'
import { CellSessions } from './cells/cell-sessions.js'
import { DatabaseClock, type Clock } from './clock.js'
import { cellEndpoints } from './http/cell-endpoints.js'
import { internalApi, RefusedError, type Endpoint } from './http/internal-api.js'
import { routerEndpoints } from './http/router-endpoints.js'
import { Leadership, type Term } from './leadership/leadership.js'
import type { Effects } from './loops/effects.js'
import { Leader, PACE, type Pace } from './loops/leader.js'
import { createSerial } from './loops/serial.js'
import { RouteFeed } from './routes/route-feed.js'
import { RouterAcks } from './routes/router-acks.js'
import { RunSpecs } from './state/run-specs.js'

/** What a scheduler is made of. */
export interface SchedulerOptions {
  readonly pool: Pool
  readonly identity: NodeIdentity
  readonly listen: { readonly host: string; readonly port: number }
  readonly keyring: Keyring
  readonly signedUrl: (blobKey: string) => Promise<string>
  readonly logs: Pick<LogSender, 'send'>
  readonly nudge: (nudge: Nudge) => void
  readonly log: Logger
  readonly clock?: Clock
  /** @default 10 s */
  readonly leaseTtlMs?: number
  /** Limit on instances that start at once; 0, the default, is no limit. */
  readonly maxStarting?: number
  readonly pace?: Pace
}

export interface Scheduler {
  readonly port: number
  readonly isLeading: boolean
  /** Desired state may have changed. */
  nudge(): void
  /** After the certificate was renewed. */
  useIdentity(identity: NodeIdentity): void
  close(): Promise<void>
}

/** Starts listening, and leads as soon as no other scheduler does. */
export async function createScheduler(options: SchedulerOptions): Promise<Scheduler> {
  const { pool, log } = options
  const clock = options.clock ?? new DatabaseClock()
  const feed = new RouteFeed()
  const acks = new RouterAcks(clock)
  const sessions = new CellSessions()
  const serial = createSerial()
  const nextTimestamp = createTimestamps()
  const sendEffects = (effects: Effects): void => effects.send({ nudge: options.nudge, logs: options.logs, nextTimestamp })
  let leader: Leader | undefined

  const mustLead = (): Leader => {
    if (!leader || leader.term.signal.aborted) throw new RefusedError(503, 'This scheduler does not lead now.')
    return leader
  }
  const lead = async (term: Term): Promise<void> => {
    sessions.forget()
    await acks.restore(pool)
    const mine = new Leader(term, {
      pool,
      clock,
      log,
      feed,
      acks,
      sessions,
      serial,
      sendEffects,
      maxStarting: options.maxStarting ?? 0,
      pace: options.pace ?? PACE,
    })
    leader = mine
    await mine.done
    if (leader === mine) leader = undefined
    sessions.wakeAll()
  }
  const status: Endpoint = {
    method: 'GET',
    path: '/v1/status',
    roles: 'any',
    handle: async () => ({
      json: {
        leader: leader !== undefined,
        leaseToken: leader ? String(leader.lease.token) : null,
        cells: sessions.size,
        routers: acks.live().length,
        feedEpoch: feed.epoch ?? null,
        feedRevision: feed.revision,
        routes: feed.routeCount,
      },
    }),
  }
  const specs = new RunSpecs({ keyring: options.keyring, log })
  const server = createInternalServer(
    options.identity,
    internalApi(
      [
        ...cellEndpoints({
          pool,
          clock,
          log,
          sessions,
          specs,
          serial,
          sendEffects,
          signedUrl: options.signedUrl,
          leader: mustLead,
        }),
        ...routerEndpoints({ feed, acks, log, currentLeader: () => leader }),
        status,
      ],
      log,
    ),
  )
  // Long polls and the feed have their own ends.
  server.requestTimeout = 60_000
  server.keepAliveTimeout = 65_000
  const port = await listen(server, options.listen)
  const leadership = new Leadership({
    pool,
    holder: `${options.identity.nodeId}:${randomUUID()}`,
    ttlMs: options.leaseTtlMs ?? 10_000,
    retryMs: 500,
    log,
    lead,
    onFollowing: () => feed.resign(),
  })
  return {
    port,
    get isLeading() {
      return leader !== undefined
    },
    nudge: () => leader?.nudge(),
    useIdentity: ({ certificatePem: cert, privateKeyPem: key, authorityPem: ca }) => server.setSecureContext({ cert, key, ca }),
    close: async () => {
      await leadership.close()
      feed.resign()
      server.close()
      server.closeAllConnections()
    },
  }
}

async function listen(server: Server, { host, port }: { host: string; port: number }): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, () => {
      server.off('error', reject)
      resolve()
    })
  })
  const address = server.address()
  return typeof address === 'object' && address ? address.port : port
}
