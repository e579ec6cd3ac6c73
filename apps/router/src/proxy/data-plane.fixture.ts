import { connect } from 'node:net'
import {
  createServer,
  request,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  type RequestListener,
  type RequestOptions,
  type Server,
} from 'node:http'
import type { AddressInfo } from 'node:net'
import type { LogLine } from '@bloomery/contracts'
import { silentLogger } from '@bloomery/telemetry'
import { recordExchange } from '../access-log/record-exchange.js'
import { type ErrorPage, plainPage } from '../error-pages/error-page.js'
import { bindSocket } from '../holder/listening-sockets.js'
import { poolKeyOf } from '../forwarding/instance-forwarding.js'
import { Http1DataPlane } from '../http1/http1-data-plane.js'
import { Http2Clients } from '../http2/http2-clients.js'
import { Http2Endpoints } from '../http2/http2-endpoints.js'
import { NodeDataPlane } from '../plain/node-data-plane.js'
import { RouteTable } from '../table/route-table.js'
import { CertificateStore } from '../tls/certificate-store.js'
import type { DataPlane, DataPlaneDeps, ListenerOptions } from './data-plane.js'
import { LIMITS, type Limits } from './limits.js'
import { parseAddress } from './forwarding.js'
import { createPipeline } from './pipeline.js'

/** A data plane with an empty table, in this process. */
export interface TestPlane {
  readonly plane: DataPlane
  readonly table: RouteTable
  readonly certificates: CertificateStore
  readonly lines: LogLine[]
  readonly port: number
  readonly httpsPort: number
  close(): Promise<void>
}

interface TestPlaneOptions {
  readonly hosts?: string[]
  readonly upstreams?: string[]
  readonly localCells?: string[]
  readonly patienceMs?: number
  readonly unservedIs503?: boolean
  readonly plane?: 'http1' | 'plain'
  /** Over the defaults. */
  readonly limits?: Partial<Limits>
  readonly listener?: ListenerOptions
  readonly errorPage?: ErrorPage
  /** For HTTPS; clients may then choose HTTP/2, and instances may speak it. */
  readonly certificate?: { readonly names: string[]; readonly certificatePem: string; readonly privateKeyPem: string }
}

export async function startPlane(options: TestPlaneOptions = {}): Promise<TestPlane> {
  const limits: Limits = { ...LIMITS, ...options.limits }
  const table = new RouteTable()
  const certificates = new CertificateStore()
  const lines: LogLine[] = []
  const record = recordExchange({
    sender: () => ({
      send: (envelope) => {
        if (envelope.kind === 'log') lines.push(envelope)
      },
      nextTimestamp: () => String(lines.length),
    }),
  })
  const { errorPage = plainPage } = options
  const http2Endpoints = new Http2Endpoints(limits, undefined, errorPage)
  const shared = {
    log: silentLogger,
    record,
    limits,
    errorPage,
    decide: createPipeline({
      table,
      hosts: new Set(options.hosts ?? []),
      upstreams: (options.upstreams ?? []).map((address) => ({ key: address, ...parseAddress(address) })),
      localCells: new Set(options.localCells ?? []),
      patienceMs: options.patienceMs ?? 0,
      unservedIs503: options.unservedIs503,
      isHealthy: () => !plane.isDraining,
      http2Endpoints,
    }),
  }
  const http2 = new Http2Clients(shared)
  const deps: DataPlaneDeps = {
    ...shared,
    findCertificate: (name) => certificates.find(name),
    ...(options.certificate ? { http2 } : {}),
    ...(options.listener ? { listener: options.listener } : {}),
  }
  const plane: DataPlane = options.plane === 'plain' ? new NodeDataPlane(deps) : new Http1DataPlane(deps)
  table.onWithdrawn((endpoint) => plane.forget(poolKeyOf(endpoint)))
  certificates.onDefault((certificate) => plane.setDefaultCertificate(certificate))
  if (options.certificate) certificates.replace([options.certificate], () => undefined)
  const http = bindSocket('127.0.0.1', 0, 'HTTP')
  const https = bindSocket('127.0.0.1', 0, 'HTTPS')
  await plane.listen({ httpFd: http.fd, httpsFd: https.fd })
  return {
    plane,
    table,
    certificates,
    lines,
    port: http.port,
    httpsPort: https.port,
    close: async () => {
      http2Endpoints.close()
      await plane.close(100, 0)
    },
  }
}

/** A server on a free port of this machine. */
export async function startBackend(handle: RequestListener): Promise<{ server: Server; port: number; close(): Promise<void> }> {
  const server = createServer(handle)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    server,
    port: (server.address() as AddressInfo).port,
    close: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

export interface Reply {
  readonly status: number
  readonly headers: IncomingMessage['headers']
  readonly trailers: IncomingMessage['trailers']
  readonly body: string
}

/** One request, one connection unless an agent is given. */
export function send(
  port: number,
  host: string,
  options: Omit<RequestOptions, 'headers'> & { headers?: OutgoingHttpHeaders; body?: string | Buffer } = {},
): Promise<Reply> {
  const { body, headers, ...rest } = options
  return new Promise((resolve, reject) => {
    const call = request({ host: '127.0.0.1', port, agent: false, ...rest, headers: { host, ...headers } }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.once('error', reject)
      response.once('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          trailers: response.trailers,
          body: Buffer.concat(chunks).toString(),
        }),
      )
    })
    call.once('error', reject)
    call.end(body)
  })
}

/** Writes bytes and returns all that comes back until the other side closes, or is silent for a while. */
export function sendRaw(port: number, bytes: string | Buffer, silenceMs = 400): Promise<{ text: string; closed: boolean }> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes))
    let text = ''
    const finish = (closed: boolean): void => {
      socket.destroy()
      resolve({ text, closed })
    }
    socket.setTimeout(silenceMs, () => finish(false))
    socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')))
    socket.on('end', () => finish(true))
    socket.on('error', () => finish(true))
  })
}
