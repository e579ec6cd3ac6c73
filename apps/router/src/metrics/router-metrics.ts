import type { Exchange } from '../proxy/exchange.js'
import { z } from 'zod'

/** Upper bounds of the histograms, in milliseconds. */
export const BUCKETS_MS = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 60_000] as const
const STATUS_GROUPS = ['1xx', '2xx', '3xx', '4xx', '5xx', 'xxx'] as const

const Histogram = z.object({ buckets: z.array(z.number()), sumMs: z.number(), count: z.number() })
type Histogram = z.infer<typeof Histogram>

const Served = z.object({ requests: z.number(), failures: z.number(), latencyMs: z.number() })
type Served = z.infer<typeof Served>

/** Figures of one worker, or the sum of several. */
export const RouterFigures = z.object({
  counters: z.record(z.string(), z.number()),
  gauges: z.record(z.string(), z.number()),
  /** By status group. */
  latency: z.record(z.string(), Histogram),
  gorouterTime: Histogram,
  /** By app. */
  apps: z.record(z.string(), Served),
  /** By route, answers of the router's own included. */
  routes: z.record(z.string(), Served),
  /** By what X-Cf-RouterError said, without the details in parentheses. */
  errors: z.record(z.string(), z.number()),
})
export type RouterFigures = z.infer<typeof RouterFigures>

/** Apps and routes beyond this are counted together: figures must not grow with the platform without bound. */
const MOST_NAMES = 20_000
const OTHERS = 'others'

const emptyHistogram = (): Histogram => ({ buckets: BUCKETS_MS.map(() => 0), sumMs: 0, count: 0 })

/** Counts what a worker serves, under Cloud Foundry's names. */
export class RouterMetrics {
  readonly #counters = {
    total_requests: 0,
    routed_app_requests: 0,
    rejected_requests: 0,
    bad_gateways: 0,
    backend_exhausted_conns: 0,
    backend_invalid_id: 0,
    backend_invalid_tls_cert: 0,
    backend_tls_handshake_failed: 0,
    websocket_upgrades: 0,
    websocket_failures: 0,
    responses_route_services: 0,
    tcp_connections: 0,
    tcp_failures: 0,
  }
  readonly #latency = new Map<string, Histogram>(STATUS_GROUPS.map((group) => [group, emptyHistogram()]))
  readonly #gorouterTime = emptyHistogram()
  readonly #apps = new Map<string, Served>()
  readonly #routes = new Map<string, Served>()
  readonly #errors = new Map<string, number>()

  /** Told of each request once it is over. */
  record(exchange: Exchange, finishedAt: number): void {
    const { outcome } = exchange
    const counters = this.#counters
    const status = outcome.status ?? 0
    const latencyMs = Math.max(finishedAt - exchange.receivedAt, 0)
    counters.total_requests++
    if (exchange.viaRouteService) counters.responses_route_services++
    if (status === 502) counters.bad_gateways++
    if (exchange.upgrade !== undefined) {
      if (status === 101) counters.websocket_upgrades++
      else counters.websocket_failures++
    }
    if (outcome.routerError !== undefined) this.#countError(outcome.routerError, status)
    // How long a switched connection lasts is nobody's latency.
    if (status !== 101) {
      observe(this.#latency.get(groupOf(status)), latencyMs)
      observe(this.#gorouterTime, Math.max(latencyMs - outcome.backendMs, 0))
    }
    if (exchange.route) count(this.#routes, exchange.route.routeGuid, status, latencyMs)
    const { endpoint } = outcome
    if (!endpoint) return
    counters.routed_app_requests++
    count(this.#apps, endpoint.appGuid, status, latencyMs)
  }

  recordTcp(served: boolean): void {
    if (served) this.#counters.tcp_connections++
    else this.#counters.tcp_failures++
  }

  /** What has been counted so far, and how things stand now. */
  figures(gauges: Readonly<Record<string, number>>): RouterFigures {
    return {
      counters: { ...this.#counters },
      gauges: { ...gauges },
      latency: Object.fromEntries([...this.#latency].filter(([, { count }]) => count > 0)),
      gorouterTime: this.#gorouterTime,
      apps: Object.fromEntries(this.#apps),
      routes: Object.fromEntries(this.#routes),
      errors: Object.fromEntries(this.#errors),
    }
  }

  #countError(routerError: string, status: number): void {
    const parenthesis = routerError.indexOf(' (')
    const name = parenthesis === -1 ? routerError : routerError.slice(0, parenthesis)
    this.#errors.set(name, (this.#errors.get(name) ?? 0) + 1)
    if (name === 'unknown_route' || name === 'empty_host' || name === 'bad_request') this.#counters.rejected_requests++
    if (name === 'Connection Limit Reached') this.#counters.backend_exhausted_conns++
    if (name !== 'endpoint_failure') return
    if (status === 503) this.#counters.backend_invalid_id++
    if (status === 526) this.#counters.backend_invalid_tls_cert++
    if (status === 525) this.#counters.backend_tls_handshake_failed++
  }
}

function count(served: Map<string, Served>, guid: string, status: number, latencyMs: number): void {
  const name = served.has(guid) || served.size < MOST_NAMES ? guid : OTHERS
  let figures = served.get(name)
  if (!figures) {
    figures = { requests: 0, failures: 0, latencyMs: 0 }
    served.set(name, figures)
  }
  figures.requests++
  if (status >= 500) figures.failures++
  // How long a switched connection lasts is nobody's latency.
  if (status !== 101) figures.latencyMs += latencyMs
}

const groupOf = (status: number): string => STATUS_GROUPS[Math.floor(status / 100) - 1] ?? 'xxx'

function observe(histogram: Histogram | undefined, ms: number): void {
  if (!histogram) return
  histogram.sumMs += ms
  histogram.count++
  for (let i = 0; i < BUCKETS_MS.length; i++)
    if (ms <= (BUCKETS_MS[i] ?? Infinity)) {
      histogram.buckets[i] = (histogram.buckets[i] ?? 0) + 1
      return
    }
}
