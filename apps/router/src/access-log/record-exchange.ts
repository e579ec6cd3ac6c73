import type { RouteEndpoint } from '@bloomery/contracts'
import type { SpoolingLogSender } from '@bloomery/feeds'
import type { Exchange } from '../proxy/exchange.js'
import { formatAccessLine, formatServed } from './format-line.js'

/** Writes each request into the file, where there is one, and that to an app into the app's log, as source RTR. Neither holds up traffic. */
export const recordExchange =
  (deps: {
    readonly sender: () => Pick<SpoolingLogSender, 'send' | 'nextTimestamp'>
    readonly file?: { add(line: string): void } | undefined
  }) =>
  (exchange: Exchange, finishedAt: number): void => {
    const { outcome, headers, route, client } = exchange
    const app = outcome.endpoint ?? route?.endpoints[0]
    if (!app && !deps.file) return
    const text = formatAccessLine({
      host: exchange.hostHeader,
      receivedAt: exchange.receivedAt,
      finishedAt,
      backendMs: outcome.backendMs,
      method: exchange.method,
      target: exchange.target,
      protocol: `HTTP/${exchange.httpVersion}`,
      status: outcome.status,
      requestBytes: outcome.requestBytes,
      responseBytes: outcome.responseBytes,
      referer: headers.get('referer'),
      userAgent: headers.get('user-agent'),
      client,
      backend: outcome.backend,
      forwardedFor: headers.get('x-forwarded-for'),
      forwardedProto: headers.get('x-forwarded-proto'),
      requestId: exchange.requestId,
      served: outcome.endpoint
        ? servedBy(outcome.endpoint)
        : formatServed({ appGuid: app?.appGuid, index: undefined, instanceGuid: undefined }),
      routerError: outcome.routerError,
    })
    deps.file?.add(text)
    if (!app) return
    const sender = deps.sender()
    sender.send({
      kind: 'log',
      sourceId: app.appGuid,
      instanceId: '0',
      sourceType: 'RTR',
      stream: 'OUT',
      timestamp: sender.nextTimestamp(),
      text,
    })
  }

/** Endpoints are replaced as a whole when the feed changes them. */
const served = new WeakMap<RouteEndpoint, string>()

function servedBy(endpoint: RouteEndpoint): string {
  const known = served.get(endpoint)
  if (known !== undefined) return known
  const text = formatServed(endpoint)
  served.set(endpoint, text)
  return text
}
