import { createServer, type Server } from 'node:https'
import type { ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import type { NodeIdentity, RouteAck, RouteEntry } from '@bloomery/contracts'
import { makeTestIdentity, serverTlsOptions } from '@bloomery/pki'
import { silentLogger } from '@bloomery/telemetry'
import { NdjsonLines } from './ndjson-lines.js'
import { followRouteFeed, type RouteFeedClient } from './route-feed-client.js'

let router: NodeIdentity
let scheduler: NodeIdentity
beforeAll(async () => {
  const made = await makeTestIdentity('router')
  router = made.identity
  scheduler = (await makeTestIdentity('scheduler', { authority: made.authority })).identity
})

let server: Server
let feeds: ServerResponse[] = []
let connections = 0
let acks: RouteAck[] = []
let seen: string[] = []
let client: RouteFeedClient
let refuseAcks = false
let answering: string[] = []

const route = (routeGuid: string): RouteEntry => ({
  routeGuid,
  host: 'a',
  path: '',
  protocol: 'http',
  options: {},
  endpoints: [],
})
const say = (message: unknown): void => feeds.at(-1)?.write(`${JSON.stringify(message)}\n`) as unknown as void
const snapshot = (epoch: string, revision: number, ...guids: string[]): void =>
  say({ type: 'snapshot', epoch, revision, routes: guids.map(route) })
const change = (epoch: string, revision: number, upsert: string[], remove: string[] = []): void =>
  say({ type: 'change', epoch, revision, upsert: upsert.map(route), remove: remove.map((routeGuid) => ({ routeGuid })) })
const eventually = async (check: () => boolean): Promise<void> => {
  const deadline = Date.now() + 5_000
  while (!check()) {
    if (Date.now() > deadline) throw new Error(`not in time: ${JSON.stringify({ seen, acks, connections })}`)
    await delay(10)
  }
}

beforeEach(async () => {
  feeds = []
  connections = 0
  acks = []
  seen = []
  refuseAcks = false
  answering = []
  server = createServer(serverTlsOptions(scheduler), (request, response) => {
    if (request.url === '/v1/routes/feed?worker=w0') {
      connections++
      feeds.push(response)
      response.writeHead(200).flushHeaders()
      return
    }
    let text = ''
    request.on('data', (chunk: Buffer) => (text += chunk.toString()))
    request.on('end', () => {
      if (!refuseAcks) acks.push(JSON.parse(text) as RouteAck)
      response.writeHead(refuseAcks ? 503 : 204).end()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  client = followRouteFeed({
    url: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
    worker: 'w0',
    identity: () => router,
    log: silentLogger,
    silenceMs: 400,
    answering: () => answering,
    receiver: {
      snapshot: (routes, at) =>
        void seen.push(`snapshot ${at.epoch}.${at.revision} ${routes.map((each) => each.routeGuid).join()}`),
      change: (upsert, remove, at) =>
        void seen.push(`change ${at.epoch}.${at.revision} +${upsert.map((each) => each.routeGuid).join()} -${remove.join()}`),
    },
  })
  await eventually(() => connections === 1)
})
afterEach(async () => {
  client.close()
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
})

describe('the route feed', () => {
  it('applies the snapshot and what changes, and acknowledges it', async () => {
    snapshot('1', 5, 'a')
    change('1', 6, ['b'], ['a'])
    await eventually(() => acks.at(-1)?.revision === 6)
    expect(seen).toEqual(['snapshot 1.5 a', 'change 1.6 +b -a'])
    expect(acks.at(-1)).toEqual({ epoch: '1', revision: 6, answering: [] })
    expect(client.isCurrent).toBe(true)
  })

  it('puts a snapshot together from its parts', async () => {
    await eventually(() => connections === 1)
    say({ type: 'snapshot-part', epoch: '1', revision: 4, routes: ['a', 'b'].map(route) })
    say({ type: 'snapshot-part', epoch: '1', revision: 4, routes: ['c'].map(route) })
    snapshot('1', 4, 'd')
    change('1', 5, ['e'])
    await eventually(() => seen.length === 2)
    expect(seen).toEqual(['snapshot 1.4 a,b,c,d', 'change 1.5 +e -'])
  })

  it.each([
    ['a revision is missing', () => change('1', 7, ['b'])],
    ['a heartbeat knows of more', () => say({ type: 'heartbeat', epoch: '1', revision: 6 })],
    ['the epoch changes without a snapshot', () => change('2', 6, ['b'])],
    ['a message cannot be read', () => say({ type: 'change', epoch: '1', revision: 6 })],
    ['the feed ends', () => feeds.at(-1)?.end()],
    ['the connection breaks', () => feeds.at(-1)?.destroy()],
    ['nothing is heard any more', () => undefined],
  ])('begins anew when %s', async (_name, disturb) => {
    snapshot('1', 5, 'a')
    await eventually(() => seen.length === 1)
    disturb()
    await eventually(() => connections === 2)
    expect(seen).toEqual(['snapshot 1.5 a'])
    snapshot('2', 1, 'b')
    await eventually(() => seen.length === 2)
    expect(seen[1]).toBe('snapshot 2.1 b')
  })

  it('takes a new epoch with its snapshot on the same connection', async () => {
    snapshot('1', 5, 'a')
    snapshot('2', 1, 'b')
    change('2', 2, ['c'])
    await eventually(() => seen.length === 3)
    expect(connections).toBe(1)
  })

  it('tells which withdrawn instances still answer, and again when that changes', async () => {
    answering = ['i1']
    snapshot('1', 5, 'a')
    await eventually(() => acks.length === 1)
    answering = []
    client.acknowledge()
    await eventually(() => acks.length === 2)
    expect(acks).toEqual([
      { epoch: '1', revision: 5, answering: ['i1'] },
      { epoch: '1', revision: 5, answering: [] },
    ])
  })

  it('stays while heartbeats come, and repeats an acknowledgement that was lost', async () => {
    refuseAcks = true
    snapshot('1', 5, 'a')
    for (let i = 0; i < 8; i++) {
      await delay(100)
      say({ type: 'heartbeat', epoch: '1', revision: 5 })
      if (i === 3) refuseAcks = false
    }
    await eventually(() => acks.at(-1)?.revision === 5)
    expect(connections).toBe(1)
  })
})

describe('NdjsonLines', () => {
  it('joins what comes in pieces, within characters too', () => {
    const bytes = Buffer.from('{"a":"é"}\n\n{"b":1}\n{"c"')
    for (let size = 1; size < bytes.length; size++) {
      const lines = new NdjsonLines()
      const out: string[] = []
      for (let i = 0; i < bytes.length; i += size) out.push(...lines.push(bytes.subarray(i, i + size)))
      expect(out).toEqual(['{"a":"é"}', '{"b":1}'])
    }
  })
})
