import type { Step } from '../proxy/disposition.js'

/** Each request has a new id, whatever the client says, so that ids in logs can be trusted. */
export const requestId: Step = (exchange) => {
  exchange.headers.set('X-Vcap-Request-Id', exchange.requestId)
  return undefined
}
