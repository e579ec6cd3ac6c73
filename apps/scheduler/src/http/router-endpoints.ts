import { RouteAck } from '@bloomery/contracts'
import type { Logger } from '@bloomery/telemetry'
import type { Leader } from '../loops/leader.js'
import type { RouteFeed } from '../routes/route-feed.js'
import type { RouterAcks } from '../routes/router-acks.js'
import { RefusedError, type Endpoint, type InternalRequest } from './internal-api.js'

/** A router that reads too slowly for this much to wait starts over with a snapshot. */
const MAX_BUFFERED_BYTES = 64 * 1024 * 1024

export interface RouterEndpointDeps {
  readonly feed: RouteFeed
  readonly acks: RouterAcks
  readonly log: Logger
  readonly currentLeader: () => Leader | undefined
}

/** The route feed; contracts has its description. */
export const routerEndpoints = (deps: RouterEndpointDeps): Endpoint[] => [
  { method: 'GET', path: '/v1/routes/feed', roles: ['router'], handle: (request) => feedRoutes(deps, request) },
  { method: 'POST', path: '/v1/routes/ack', roles: ['router'], handle: (request) => acknowledge(deps, request) },
]

/** Each worker of a router has a table of its own. */
function routerId({ peer, url }: InternalRequest): string {
  const worker = url.searchParams.get('worker')
  return worker ? `${peer.nodeId}-${worker}` : peer.nodeId
}

function feedRoutes({ feed, acks, log }: RouterEndpointDeps, request: InternalRequest): Promise<'handled'> {
  const { response } = request
  const id = routerId(request)
  if (feed.epoch === undefined) throw new RefusedError(503, 'This scheduler publishes no routes now.')
  response.writeHead(200, { 'content-type': 'application/x-ndjson', 'cache-control': 'no-store' })
  request.request.socket.setNoDelay(true)
  const unsubscribe = feed.subscribe({
    send: (line) => {
      if (response.writableLength > MAX_BUFFERED_BYTES) {
        log.warn({ router: id }, 'router reads its feed too slowly; it has to start over')
        response.destroy()
      } else response.write(line)
    },
    end: () => response.end(),
  })
  acks.connected(id)
  response.once('close', () => {
    unsubscribe?.()
    acks.disconnected(id)
  })
  return Promise.resolve('handled')
}

async function acknowledge({ acks, currentLeader }: RouterEndpointDeps, request: InternalRequest): Promise<undefined> {
  const { epoch, revision, answering } = await request.body(RouteAck)
  if (!/^\d{1,18}$/.test(epoch) || !Number.isSafeInteger(revision))
    throw new RefusedError(400, 'epoch and revision are whole numbers.')
  acks.acknowledge(routerId(request), BigInt(epoch), BigInt(revision), answering)
  currentLeader()?.nudgeStops()
  return undefined
}
