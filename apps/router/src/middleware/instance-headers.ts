import type { RouteEndpoint } from '@bloomery/contracts'
import type { RawHeaders } from '../proxy/raw-headers.js'

/** Tells the endpoint who it is, over whatever the client claimed. */
export function setInstanceHeaders(headers: RawHeaders, endpoint: RouteEndpoint, address: string): void {
  headers.set('X-CF-ApplicationID', endpoint.appGuid)
  headers.set('X-CF-InstanceID', endpoint.instanceGuid || address)
  headers.set('X-CF-InstanceIndex', String(endpoint.index))
}
