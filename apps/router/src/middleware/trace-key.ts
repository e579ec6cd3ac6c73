import type { Step } from '../proxy/disposition.js'

/** A request with `X-Vcap-Trace: <key>` is told in its answer which router and which instance served it. */
export const traceKey =
  (key: string, routerId: string): Step =>
  (exchange) => {
    if (exchange.headers.get('x-vcap-trace') === key) exchange.toldBy = routerId
    return undefined
  }
