import { createServer, type Server } from 'node:https'
import type { ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { RouteAck, type NodeIdentity, type RouteEndpoint, type RouteEntry } from '@bloomery/contracts'

/** A route feed for tests: what `publish` is given goes to every worker that follows, and acknowledgements are kept. */
export class FakeScheduler {
  readonly acks = new Map<string, RouteAck>()
  readonly #server: Server
  readonly #followers = new Map<ServerResponse, string>()
  #routes = new Map<string, RouteEntry>()
  #revision = 1
  #epoch = 1
  #heartbeat: NodeJS.Timeout | undefined

  constructor(identity: NodeIdentity) {
    this.#server = createServer(
      {
        cert: identity.certificatePem,
        key: identity.privateKeyPem,
        ca: identity.authorityPem,
        requestCert: true,
        rejectUnauthorized: true,
      },
      (request, response) => {
        const url = new URL(request.url ?? '/', 'https://x')
        const worker = url.searchParams.get('worker') ?? ''
        if (url.pathname === '/v1/routes/ack') {
          let text = ''
          request.on('data', (chunk: Buffer) => (text += chunk.toString()))
          request.on('end', () => {
            this.acks.set(worker, RouteAck.parse(JSON.parse(text)))
            response.writeHead(204).end()
          })
          return
        }
        response.writeHead(200, { 'content-type': 'application/x-ndjson' })
        this.#followers.set(response, worker)
        response.once('close', () => this.#followers.delete(response))
        this.#sendSnapshot(response)
      },
    )
  }

  async listen(port = 0): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(port, '127.0.0.1', resolve))
    this.#heartbeat = setInterval(() => this.#sendAll({ type: 'heartbeat', ...this.at }), 200)
    return `https://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  get at(): RouteAck {
    return { epoch: String(this.#epoch), revision: this.#revision }
  }

  get followers(): string[] {
    return [...this.#followers.values()].sort()
  }

  publish(...upsert: RouteEntry[]): void {
    for (const route of upsert) this.#routes.set(route.routeGuid, route)
    this.#revision++
    this.#sendAll({ type: 'change', ...this.at, upsert, remove: [] })
  }

  remove(...guids: string[]): void {
    for (const guid of guids) this.#routes.delete(guid)
    this.#revision++
    this.#sendAll({ type: 'change', ...this.at, upsert: [], remove: guids.map((routeGuid) => ({ routeGuid })) })
  }

  /** Leaves out a revision, as if a message had been lost. */
  skipRevision(): void {
    this.#revision++
  }

  /** A new leader. */
  nextEpoch(): void {
    this.#epoch++
    this.#revision = 1
    for (const follower of this.#followers.keys()) this.#sendSnapshot(follower)
  }

  pauseHeartbeat(): void {
    clearInterval(this.#heartbeat)
  }

  async close(): Promise<void> {
    clearInterval(this.#heartbeat)
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  #sendSnapshot(to: ServerResponse): void {
    to.write(`${JSON.stringify({ type: 'snapshot', ...this.at, routes: [...this.#routes.values()] })}\n`)
  }

  #sendAll(message: unknown): void {
    for (const follower of this.#followers.keys()) follower.write(`${JSON.stringify(message)}\n`)
  }
}

/** An endpoint at a local port. */
export const anEndpoint = (over: Partial<RouteEndpoint> & { readonly port: number }): RouteEndpoint => {
  const { port, ...rest } = over
  return {
    instanceGuid: `instance-${port}`,
    appGuid: '0f2a0bd0-1111-4222-8333-0123456789ab',
    appName: 'app',
    spaceGuid: 'space',
    organizationGuid: 'org',
    processGuid: '0f2a0bd0-1111-4222-8333-0123456789ab',
    processType: 'web',
    index: 0,
    cellId: 'c1',
    localAddress: '127.0.0.1:1',
    hostAddress: `127.0.0.1:${port}`,
    protocol: 'http1',
    ...rest,
  }
}

/** A route `host[/path]`; its guid is its address. */
export const aRoute = (address: string, endpoints: readonly RouteEndpoint[], over: Partial<RouteEntry> = {}): RouteEntry => {
  const slash = address.indexOf('/')
  const [host, path] = slash === -1 ? [address, ''] : [address.slice(0, slash), address.slice(slash)]
  return { routeGuid: address, host, path, protocol: 'http', options: {}, endpoints: [...endpoints], ...over }
}
