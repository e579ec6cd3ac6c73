import { InstanceForwarding, type InstanceForwardingDeps } from '../forwarding/instance-forwarding.js'
import { Http2Forwarding, type Http2Endpoints } from '../http2/http2-endpoints.js'
import type { Step } from '../proxy/disposition.js'

export interface ProxyToInstanceDeps extends InstanceForwardingDeps {
  /** Absent: all instances are spoken to by HTTP/1.1. */
  readonly http2Endpoints?: Http2Endpoints
}

/** The last step: the request goes to an instance of the route that the lookup found. */
export const proxyToInstance =
  (deps: ProxyToInstanceDeps): Step =>
  (exchange) => {
    if (!exchange.route) throw new Error('the lookup comes first')
    const forwarding = new InstanceForwarding(deps, exchange, exchange.route)
    const speaksHttp2 = exchange.upgrade === undefined && exchange.candidates.some(({ protocol }) => protocol === 'http2')
    return {
      do: 'forward',
      forwarding:
        speaksHttp2 && deps.http2Endpoints ? new Http2Forwarding(forwarding, exchange, deps.http2Endpoints) : forwarding,
    }
  }
