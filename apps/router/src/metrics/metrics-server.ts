import { createHash, timingSafeEqual } from 'node:crypto'
import { createServer, type Server } from 'node:http'
import type { Logger } from '@bloomery/telemetry'
import { renderPrometheus, sumFigures } from './prometheus.js'
import type { RouterFigures } from './router-metrics.js'

export interface MetricsServerOptions {
  readonly listen: { readonly host: string; readonly port: number }
  /** Of the user `metrics` (basic authentication); absent: whoever reaches the listener may read. */
  readonly password: string | undefined
  readonly perApp: boolean
  /** Of every worker that answers. */
  readonly figures: () => Promise<readonly RouterFigures[]>
  readonly log: Logger
}

/** `GET /metrics` in Prometheus' form, `GET /figures` as JSON: the sums over the router's workers. */
export async function serveMetrics(options: MetricsServerOptions): Promise<{ readonly port: number; close(): void }> {
  const { listen, password, perApp, figures, log } = options
  const server: Server = createServer((request, response) => {
    if (password !== undefined && !isAuthorized(request.headers.authorization, password)) {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="metrics"', 'content-length': 0 }).end()
      return
    }
    const path = (request.url ?? '').replace(/\?.*$/, '')
    if (request.method !== 'GET' || (path !== '/metrics' && path !== '/figures')) {
      response.writeHead(404, { 'content-length': 0 }).end()
      return
    }
    figures().then(
      (all) => {
        const sum = sumFigures(all)
        const [type, body] =
          path === '/metrics'
            ? ['text/plain; version=0.0.4; charset=utf-8', renderPrometheus(sum, { perApp })]
            : ['application/json', JSON.stringify(sum)]
        response.writeHead(200, { 'content-type': type, 'cache-control': 'no-store' }).end(body)
      },
      (error: unknown) => {
        log.warn({ err: error }, 'the workers’ figures are not to be had')
        response.writeHead(503, { 'content-length': 0 }).end()
      },
    )
  })
  server.requestTimeout = 10_000
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(listen.port, listen.host, () => resolve())
  })
  const address = server.address()
  return {
    port: typeof address === 'object' && address ? address.port : listen.port,
    close: () => {
      server.close()
      server.closeAllConnections()
    },
  }
}

function isAuthorized(header: string | undefined, password: string): boolean {
  const given = /^basic (.+)$/i.exec(header ?? '')?.[1] ?? ''
  return timingSafeEqual(digest(Buffer.from(given, 'base64').toString('utf8')), digest(`metrics:${password}`))
}

const digest = (text: string): Buffer => createHash('sha256').update(text).digest()
