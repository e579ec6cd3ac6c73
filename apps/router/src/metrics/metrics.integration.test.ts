import { afterEach, describe, expect, it } from '@jest/globals'
import { silentLogger } from '@bloomery/telemetry'
import { anEndpoint, aRoute } from '../fake-scheduler.fixture.js'
import { Exchange } from '../proxy/exchange.js'
import { RawHeaders } from '../proxy/raw-headers.js'
import { serveMetrics } from './metrics-server.js'
import { sumFigures } from './prometheus.js'
import { RouterMetrics } from './router-metrics.js'

function served(
  metrics: RouterMetrics,
  status: number,
  more: { ms?: number; routerError?: string; upgrade?: boolean; app?: boolean } = {},
): void {
  const exchange = new Exchange(
    { method: 'GET', target: '/', httpVersion: '1.1', headers: RawHeaders.from(['Host', 'a.test']) },
    { secure: false, address: '192.0.2.1', port: 1 },
    'id',
    1000,
  )
  exchange.outcome.status = status
  exchange.outcome.routerError = more.routerError
  exchange.outcome.backendMs = (more.ms ?? 4) / 2
  if (more.upgrade) exchange.upgrade = 'websocket'
  if (more.app !== false) {
    exchange.outcome.endpoint = anEndpoint({ port: 1 })
    exchange.route = aRoute('shop.test', [])
  }
  metrics.record(exchange, 1000 + (more.ms ?? 4))
}

let server: { readonly port: number; close(): void } | undefined
afterEach(() => server?.close())

describe('metrics', () => {
  it('are those of all workers, under the names that Cloud Foundry’s router gives them', async () => {
    const [one, two] = [new RouterMetrics(), new RouterMetrics()]
    served(one, 200)
    served(one, 404, { routerError: 'unknown_route', app: false })
    served(two, 502, { routerError: 'endpoint_failure (dial tcp: refused)', ms: 300 })
    served(two, 101, { upgrade: true, ms: 100_000 })
    two.recordTcp(true)
    served(one, 526, { routerError: 'endpoint_failure (untrusted)', app: false })
    server = await serveMetrics({
      listen: { host: '127.0.0.1', port: 0 },
      password: undefined,
      perApp: true,
      figures: async () => [
        one.figures({ total_routes: 7, open_connections: 2 }),
        two.figures({ total_routes: 7, open_connections: 3 }),
      ],
      log: silentLogger,
    })
    const text = await (await fetch(`http://127.0.0.1:${server.port}/metrics`)).text()
    for (const line of [
      'total_requests 5',
      'backend_invalid_tls_cert 1',
      'routed_app_requests 3',
      'rejected_requests 1',
      'bad_gateways 1',
      'websocket_upgrades 1',
      'tcp_connections 1',
      'total_routes 7',
      'open_connections 5',
      'responses{status_group="2xx"} 1',
      'router_errors{error="endpoint_failure"} 2',
      'latency_seconds_bucket{status_group="5xx",le="0.25"} 1',
      'latency_seconds_bucket{status_group="5xx",le="0.5"} 2',
      'latency_seconds_bucket{status_group="5xx",le="+Inf"} 2',
      'gorouter_time_seconds_count 4',
    ])
      expect(text.split('\n')).toContain(line)
    expect(text).toMatch(/http_requests\{source_id="[^"]+"\} 3/)
    const figures = (await (await fetch(`http://127.0.0.1:${server.port}/figures`)).json()) as {
      counters: Record<string, number>
      routes: Record<string, unknown>
    }
    expect(figures.counters['total_requests']).toBe(5)
    expect(figures.routes).toEqual({ 'shop.test': { requests: 3, failures: 1, latencyMs: 304 } })
    expect((await fetch(`http://127.0.0.1:${server.port}/else`)).status).toBe(404)
  })

  it('are for whoever knows the password, where there is one', async () => {
    server = await serveMetrics({
      listen: { host: '127.0.0.1', port: 0 },
      password: 'secret',
      perApp: false,
      figures: async () => [],
      log: silentLogger,
    })
    const ask = async (credentials?: string): Promise<number> =>
      (
        await fetch(`http://127.0.0.1:${server?.port ?? 0}/metrics`, {
          headers: credentials === undefined ? {} : { authorization: `Basic ${Buffer.from(credentials).toString('base64')}` },
        })
      ).status
    expect([await ask(), await ask('metrics:wrong'), await ask('admin:secret'), await ask('metrics:secret')]).toEqual([
      401, 401, 401, 200,
    ])
  })

  it('of no worker are none', () =>
    expect(sumFigures([])).toMatchObject({ counters: {}, gauges: {}, gorouterTime: { count: 0 } }))
})
