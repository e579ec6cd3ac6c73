import type { Step } from '../proxy/exchange.js'
import { InstanceForwarding, type InstanceForwardingDeps } from '../forwarding/instance-forwarding.js'

/** The last step: the request goes to an instance of the route that the lookup found. */
export const proxyToInstance =
  (deps: InstanceForwardingDeps): Step =>
  (exchange) => {
    if (!exchange.route) throw new Error('the lookup comes first')
    return { do: 'forward', forwarding: new InstanceForwarding(deps, exchange, exchange.route) }
  }
