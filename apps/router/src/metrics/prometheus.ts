import { BUCKETS_MS, type RouterFigures } from './router-metrics.js'

type Histogram = RouterFigures['gorouterTime']

/** Gauges that are the same for all workers, not parts of a sum. */
const SHARED_GAUGES = new Set(['total_routes', 'total_tcp_routes'])
/** Of these the greatest says most. */
const WORST_GAUGES = new Set(['ms_since_last_registry_update', 'uptime'])

/** The figures of all workers in one. */
export function sumFigures(all: readonly RouterFigures[]): RouterFigures {
  const sum = (records: readonly Readonly<Record<string, number>>[], merge: (name: string, a: number, b: number) => number) => {
    const total: Record<string, number> = {}
    for (const record of records)
      for (const [name, value] of Object.entries(record)) {
        const before = total[name]
        total[name] = before === undefined ? value : merge(name, before, value)
      }
    return total
  }
  const plus = (_name: string, a: number, b: number): number => a + b
  const groups = [...new Set(all.flatMap(({ latency }) => Object.keys(latency)))]
  return {
    counters: sum(
      all.map(({ counters }) => counters),
      plus,
    ),
    gauges: sum(
      all.map(({ gauges }) => gauges),
      (name, a, b) => (SHARED_GAUGES.has(name) || WORST_GAUGES.has(name) ? Math.max(a, b) : a + b),
    ),
    latency: Object.fromEntries(
      groups.map((group) => [group, sumHistograms(all.flatMap(({ latency }) => latency[group] ?? []))]),
    ),
    gorouterTime: sumHistograms(all.map(({ gorouterTime }) => gorouterTime)),
    apps: sumServed(all.map(({ apps }) => apps)),
    routes: sumServed(all.map(({ routes }) => routes)),
    errors: sum(
      all.map(({ errors }) => errors),
      plus,
    ),
  }
}

function sumServed(all: readonly RouterFigures['apps'][]): RouterFigures['apps'] {
  const total: RouterFigures['apps'] = {}
  for (const served of all)
    for (const [guid, { requests, failures, latencyMs }] of Object.entries(served)) {
      const before = total[guid] ?? { requests: 0, failures: 0, latencyMs: 0 }
      total[guid] = {
        requests: before.requests + requests,
        failures: before.failures + failures,
        latencyMs: before.latencyMs + latencyMs,
      }
    }
  return total
}

const sumHistograms = (all: readonly Histogram[]): Histogram => ({
  buckets: BUCKETS_MS.map((_, i) => all.reduce((total, { buckets }) => total + (buckets[i] ?? 0), 0)),
  sumMs: all.reduce((total, { sumMs }) => total + sumMs, 0),
  count: all.reduce((total, { count }) => total + count, 0),
})

const HELP: Readonly<Record<string, string>> = {
  total_requests: 'Requests received.',
  routed_app_requests: 'Requests passed on to instances.',
  rejected_requests: 'Requests refused: no route, no host, malformed.',
  bad_gateways: 'Answers with status 502.',
  backend_exhausted_conns: 'Requests refused because every instance had as many as it may have.',
  backend_invalid_id: 'Requests for which the instance had another identity than it should.',
  backend_invalid_tls_cert: 'Requests for which the certificate of the instance was not to be trusted.',
  backend_tls_handshake_failed: 'Requests for which no TLS could be agreed on with the instance.',
  websocket_upgrades: 'Connections switched to WebSocket.',
  websocket_failures: 'WebSocket handshakes that failed.',
  responses_route_services: 'Requests sent to route services.',
  tcp_connections: 'TCP connections passed on to instances.',
  tcp_failures: 'TCP connections for which no instance was found.',
  open_connections: 'Connections of clients that are open.',
  open_tcp_connections: 'TCP connections that are open.',
  total_routes: 'HTTP routes in the table.',
  total_tcp_routes: 'TCP routes in the table.',
  ms_since_last_registry_update: 'Milliseconds since the feed was heard last.',
  file_descriptors: 'Open file descriptors.',
  uptime: 'Seconds since the oldest worker started.',
}

/** The text format that Prometheus reads, 0.0.4. Per-app figures only where asked for: there may be thousands. */
export function renderPrometheus(figures: RouterFigures, options: { readonly perApp: boolean }): string {
  const lines: string[] = []
  const describe = (name: string, type: string, help: string): void =>
    void lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`)
  const single = (name: string, type: string, value: number): void => {
    describe(name, type, HELP[name] ?? name)
    lines.push(`${name} ${value}`)
  }
  for (const [name, value] of Object.entries(figures.counters)) single(name, 'counter', value)
  for (const [name, value] of Object.entries(figures.gauges)) single(name, 'gauge', value)
  describe('responses', 'counter', 'Answers by class of status.')
  for (const [group, { count }] of Object.entries(figures.latency)) lines.push(`responses{status_group="${group}"} ${count}`)
  describe('router_errors', 'counter', 'Answers of the router’s own, by X-Cf-RouterError.')
  for (const [error, count] of Object.entries(figures.errors)) lines.push(`router_errors{error=${quoted(error)}} ${count}`)
  describe('latency_seconds', 'histogram', 'From the request’s head to the end of the answer, by class of status.')
  for (const [group, histogram] of Object.entries(figures.latency))
    lines.push(...renderHistogram('latency_seconds', `status_group="${group}"`, histogram))
  describe('gorouter_time_seconds', 'histogram', 'Of that, what was spent in the router itself.')
  lines.push(...renderHistogram('gorouter_time_seconds', '', figures.gorouterTime))
  if (options.perApp) {
    describe('http_requests', 'counter', 'Requests by app.')
    for (const [guid, { requests }] of Object.entries(figures.apps))
      lines.push(`http_requests{source_id=${quoted(guid)}} ${requests}`)
    describe('http_failures', 'counter', 'Answers of 500 and above, by app.')
    for (const [guid, { failures }] of Object.entries(figures.apps))
      lines.push(`http_failures{source_id=${quoted(guid)}} ${failures}`)
    describe('http_latency_seconds', 'summary', 'Latency by app.')
    for (const [guid, { requests, latencyMs }] of Object.entries(figures.apps))
      lines.push(
        `http_latency_seconds_sum{source_id=${quoted(guid)}} ${latencyMs / 1000}`,
        `http_latency_seconds_count{source_id=${quoted(guid)}} ${requests}`,
      )
  }
  return `${lines.join('\n')}\n`
}

function renderHistogram(name: string, label: string, { buckets, sumMs, count }: Histogram): string[] {
  const comma = label === '' ? '' : ','
  const braces = label === '' ? '' : `{${label}}`
  let below = 0
  return [
    ...BUCKETS_MS.map((bound, i) => {
      below += buckets[i] ?? 0
      return `${name}_bucket{${label}${comma}le="${bound / 1000}"} ${below}`
    }),
    `${name}_bucket{${label}${comma}le="+Inf"} ${count}`,
    `${name}_sum${braces} ${sumMs / 1000}`,
    `${name}_count${braces} ${count}`,
  ]
}

const quoted = (text: string): string => `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')}"`
