import { connect, createServer, type Server, type Socket } from 'node:net'
import type { RouteEndpoint, RouteEntry } from '@bloomery/contracts'
import { balancingOf, chooseEndpoint } from '@bloomery/domain'
import type { Logger } from '@bloomery/telemetry'
import { parseAddress } from '../proxy/forwarding.js'
import { LIMITS } from '../proxy/limits.js'
import type { RouteTable } from '../table/route-table.js'
import { addressOf, tlsOf } from '../forwarding/instance-forwarding.js'
import { connectEventOf, type InstanceTls } from '../tls/instance-tls.js'
import { TLSSocket } from 'node:tls'
import { readFirstBytes } from '../tls/client-hello.js'
import { lookAtFirstBytes } from '../tls/first-bytes.js'
import { tcpPortsOf, type TcpPort } from './tcp-ports.js'

/** How long a connection to a port with server names may keep its first bytes back. */
const INSPECT_MS = 5_000
const MAX_ATTEMPTS = 3
const KEEP_ALIVE_MS = 60_000
const NOTHING = Buffer.alloc(0)

export interface TcpRouterDeps {
  readonly table: Pick<RouteTable, 'tcpRoutes' | 'onTcpChanged' | 'nextCursor' | 'health'>
  /** Cells of this machine. */
  readonly localCells: ReadonlySet<string>
  /** Dials instances that are spoken to by TLS; absent: there are none. */
  readonly instanceTls?: InstanceTls
  /** Told of each connection at its end. */
  readonly onClosed?: (connection: { readonly route: RouteEntry; readonly endpoint: RouteEndpoint | undefined }) => void
  readonly log: Logger
}

/**
 * Passes TCP connections on to instances. It accepts on every port it was given from the start, so that routes come and go without
 * any socket being opened or closed; a connection to a port without a route is reset.
 */
export class TcpRouter {
  readonly #deps: TcpRouterDeps
  readonly #servers: Server[] = []
  readonly #clients = new Set<Socket>()
  #ports: ReadonlyMap<number, TcpPort> = new Map()

  constructor(deps: TcpRouterDeps) {
    this.#deps = deps
    const update = (): void => void (this.#ports = tcpPortsOf(deps.table.tcpRoutes()))
    deps.table.onTcpChanged(update)
    update()
  }

  /** Client connections that are open. */
  get open(): number {
    return this.#clients.size
  }

  /** Begins to accept on sockets that are bound already. A port that cannot be listened on is reported and left out. */
  async listen(sockets: readonly { readonly port: number; readonly fd: number }[]): Promise<void> {
    await Promise.all(
      sockets.map(
        ({ port, fd }) =>
          new Promise<void>((resolve) => {
            const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true }, (client) =>
              this.#accept(client, port),
            )
            server.on('error', (error) => {
              this.#deps.log.error({ err: error, port }, 'a port for TCP routes cannot be listened on')
              resolve()
            })
            server.listen({ fd }, () => {
              this.#servers.push(server)
              resolve()
            })
          }),
      ),
    )
  }

  /** Accepts no more, and cuts what is still open after the timeout. */
  async close(timeoutMs: number): Promise<void> {
    const closed = Promise.all(this.#servers.map((server) => new Promise((resolve) => server.close(resolve))))
    const cut = setTimeout(() => {
      for (const client of this.#clients) client.destroy()
    }, timeoutMs)
    await closed
    clearTimeout(cut)
  }

  #accept(client: Socket, port: number): void {
    this.#clients.add(client)
    client.once('close', () => this.#clients.delete(client))
    client.on('error', () => client.destroy())
    const routes = this.#ports.get(port)
    if (!routes) return void client.resetAndDestroy()
    if (routes.byName.size === 0) return this.#pass(client, routes.rest, NOTHING)
    this.#inspect(client, routes)
  }

  /** Reads as much as tells the server name; the connection then begins with it. */
  #inspect(client: Socket, routes: TcpPort): void {
    lookAtFirstBytes(client, {
      // Where the server speaks first there is nothing to inspect.
      timeoutMs: INSPECT_MS,
      read: (bytes) => {
        const found = readFirstBytes(bytes)
        return found.kind === 'incomplete' ? undefined : found
      },
      done: (seen) => {
        const name = seen.kind === 'read' && seen.value.kind === 'tls' ? seen.value.serverName : undefined
        this.#pass(client, (name === undefined ? undefined : routes.byName.get(name)) ?? routes.rest, seen.bytes)
      },
    })
  }

  #pass(client: Socket, route: RouteEntry | undefined, first: Buffer): void {
    if (client.destroyed) return
    if (!route || route.endpoints.length === 0) return void client.resetAndDestroy()
    this.#dial(client, route, first, [], this.#deps.table.nextCursor(route))
  }

  #open(endpoint: RouteEndpoint): Socket {
    const { localCells, instanceTls } = this.#deps
    const address = addressOf(endpoint, localCells)
    const target = { key: '', ...parseAddress(address), ...tlsOf(endpoint, address) }
    if (target.tls && instanceTls) return instanceTls.open(target)
    return connect({ host: target.host, port: target.port, allowHalfOpen: true, noDelay: true })
  }

  #dial(client: Socket, route: RouteEntry, first: Buffer, tried: readonly RouteEndpoint[], cursor: number): void {
    const { table, onClosed, log } = this.#deps
    const balancing = balancingOf(route.options['loadbalancing'])
    const endpoint =
      tried.length < MAX_ATTEMPTS
        ? chooseEndpoint({
            endpoints: route.endpoints,
            balancing: balancing === 'hash' ? 'round-robin' : balancing,
            cursor,
            isFailed: (each) => table.health.isFailed(each),
            isTried: (each) => tried.includes(each) || table.health.isPruned(each),
            inFlight: (each) => table.health.inFlight(each),
          })
        : undefined
    if (!endpoint) {
      log.warn({ route: route.routeGuid, port: route.port, tried: tried.length }, 'no instance accepts a TCP connection')
      onClosed?.({ route, endpoint: undefined })
      return void client.resetAndDestroy()
    }
    const leave = table.health.enter(endpoint)
    const backend = this.#open(endpoint)
    const timer = setTimeout(() => backend.destroy(new Error('no connection in time')), LIMITS.dialMs)
    const giveUp = (): void => void backend.destroy()
    client.once('close', giveUp)
    const failed = (): void => {
      clearTimeout(timer)
      client.off('close', giveUp)
      leave()
      if (client.destroyed) return
      table.health.markFailed(endpoint)
      if (backend instanceof TLSSocket) table.health.prune(endpoint)
      this.#dial(client, route, first, [...tried, endpoint], cursor)
    }
    backend.once('close', failed)
    backend.on('error', () => backend.destroy())
    backend.once(connectEventOf(backend), () => {
      clearTimeout(timer)
      client.off('close', giveUp)
      backend.off('close', failed)
      backend.once('close', () => {
        leave()
        onClosed?.({ route, endpoint })
      })
      join(client, backend, first)
    })
  }
}

/** Both ways until both have ended; an end of one direction is passed on, so that half-closed connections deliver what is under way. */
function join(client: Socket, backend: Socket, first: Buffer): void {
  for (const socket of [client, backend]) socket.setKeepAlive(true, KEEP_ALIVE_MS)
  if (first.length > 0) backend.write(first)
  client.once('close', (hadError) => (hadError ? backend.resetAndDestroy() : backend.destroySoon()))
  backend.once('close', (hadError) => (hadError ? client.resetAndDestroy() : client.destroySoon()))
  client.pipe(backend)
  backend.pipe(client)
}
