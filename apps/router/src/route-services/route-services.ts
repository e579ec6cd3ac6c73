import type { RouteEntry, RouteServiceKeys } from '@bloomery/contracts'
import { answerWith } from '../answers.js'
import { InstanceForwarding, type InstanceForwardingDeps } from '../forwarding/instance-forwarding.js'
import { hostWithoutPort, type Exchange } from '../proxy/exchange.js'
import type { Step } from '../proxy/disposition.js'
import type { Handler } from '../proxy/handler.js'
import type { RouteTable } from '../table/route-table.js'
import { FORWARDED_URL, METADATA, SIGNATURE, signRequest, verifyRequest } from './signature.js'

const OURS = [SIGNATURE, METADATA, FORWARDED_URL].map((name) => name.toLowerCase())

export interface RouteServicesDeps extends InstanceForwardingDeps {
  readonly table: Pick<RouteTable, 'find' | 'nextCursor' | 'health' | 'openRequests'>
  /** The first signs, all verify. */
  readonly keys: () => RouteServiceKeys
  /** Sends the exchange, as it is by then, to a service elsewhere. */
  readonly toService: (url: URL, options: { readonly trusted: boolean }) => Handler
  /** Whether services shall send requests back by https whatever the client used. */
  readonly recommendHttps: boolean
  /** How long a service may take to send a request back. */
  readonly validMs: number
  readonly now: () => Date
}

/**
 * Requests for a route with a route service go there first, signed, and come back here; only then they go to an instance. A service
 * whose own address is a route of this router is reached through the table, not over the network.
 */
export const routeServices =
  (deps: RouteServicesDeps): Step =>
  (exchange) => {
    const { route, headers } = exchange
    if (route?.routeServiceUrl === undefined) return undefined
    if (headers.has(OURS[0] ?? '')) return passReturning(deps, exchange, route)
    if (exchange.upgrade !== undefined) return answerWith('routeServiceWebSocket', exchange)
    const url = URL.canParse(route.routeServiceUrl) ? new URL(route.routeServiceUrl) : undefined
    if (url?.protocol !== 'https:')
      return answerWith('endpointFailure', exchange, 'the route service has an address that is no https URL')
    const forwardedUrl = forwardedUrlOf(exchange, deps.recommendHttps)
    const signed = signRequest(deps.keys(), forwardedUrl, deps.now())
    if (!signed) return answerWith('routeServiceUnsupported', exchange)
    headers.set(FORWARDED_URL, forwardedUrl)
    headers.set(SIGNATURE, signed.signature)
    headers.set(METADATA, signed.metadata)
    headers.set('Host', url.host)
    exchange.target = `${url.pathname}${url.search}`
    exchange.viaRouteService = true
    const own = deps.table.find(hostWithoutPort(url.host), url.pathname)
    if (!own) return { do: 'handle', handler: deps.toService(url, { trusted: route.routeServiceTrusted === true }) }
    exchange.candidates = own.endpoints
    return { do: 'forward', forwarding: new InstanceForwarding(deps, exchange, own) }
  }

/** Whether a route service of the request's route sends it back, as this platform's signature proves. */
export const isReturning =
  (deps: Pick<RouteServicesDeps, 'keys' | 'now' | 'validMs'> & { readonly table: Pick<RouteTable, 'find'> }) =>
  (exchange: Exchange): boolean => {
    const { route } = exchange
    if (route?.routeServiceUrl === undefined) return false
    const verified = verifyRequest(deps.keys(), fieldsOf(exchange), deps.now(), deps.validMs)
    return verified.kind === 'valid' && leadsTo(deps, verified.forwardedUrl, route)
  }

const fieldsOf = ({ headers }: Exchange): { signature: string; metadata: string } => ({
  signature: headers.get(OURS[0] ?? '') ?? '',
  metadata: headers.get(OURS[1] ?? '') ?? '',
})

/** A request that a service sends back: it must be ours, young, and for this very route. */
function passReturning(deps: RouteServicesDeps, exchange: Exchange, route: RouteEntry): ReturnType<Step> {
  const verified = verifyRequest(deps.keys(), fieldsOf(exchange), deps.now(), deps.validMs)
  if (verified.kind === 'expired') return answerWith('expiredSignature', exchange)
  if (verified.kind !== 'valid' || !leadsTo(deps, verified.forwardedUrl, route)) return answerWith('invalidSignature', exchange)
  exchange.headers.remove(...OURS)
  return undefined
}

function leadsTo({ table }: { readonly table: Pick<RouteTable, 'find'> }, address: string, route: RouteEntry): boolean {
  if (!URL.canParse(address)) return false
  const url = new URL(address)
  return table.find(url.hostname, url.pathname)?.routeGuid === route.routeGuid
}

/** Where the service shall send the request. Without the port as a rule, since it is the usual one; else as the client reached us. */
function forwardedUrlOf({ headers, hostHeader, target, client }: Exchange, recommendHttps: boolean): string {
  const secure = client.secure || headers.get('x-forwarded-proto')?.toLowerCase() === 'https'
  const scheme = recommendHttps || secure ? 'https' : 'http'
  return `${scheme}://${hostHeader.replace(/:(80|443)?$/, '')}${target.startsWith('/') ? target : `/${target}`}`
}
