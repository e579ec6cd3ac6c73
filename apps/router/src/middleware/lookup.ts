import type { RouteEntry } from '@bloomery/contracts'
import { isPinned, parseInstancePin, type InstancePin } from '@bloomery/domain'
import { answerWith } from '../answers.js'
import type { Exchange } from '../proxy/exchange.js'
import type { Step } from '../proxy/disposition.js'

export interface LookupDeps {
  readonly find: (host: string, target: string) => RouteEntry | undefined
  /** Like `find`, but also a route that no instance serves. */
  readonly findKnown: (host: string, target: string) => RouteEntry | undefined
  /** Whether an address that no instance serves though some should is answered with 503, and not as one that nobody knows. @default true */
  readonly unservedIs503?: boolean | undefined
}

/** Finds the route, and the one instance that a request asks for by X-CF-App-Instance or X-CF-Process-Instance. */
export const lookup =
  ({ find, findKnown, unservedIs503 = true }: LookupDeps): Step =>
  (exchange) => {
    const { headers } = exchange
    const route = find(exchange.host, exchange.target)
    const app = headers.get('x-cf-app-instance')
    const process = headers.get('x-cf-process-instance')
    if (app || process) {
      const appPin = app ? parseInstancePin('app', app) : undefined
      if (app && !appPin) return answerWith('badAppInstance', exchange)
      const processPin = process ? parseInstancePin('process', process) : undefined
      if (process && !processPin) return answerWith('badProcessInstance', exchange)
      const pins = [appPin, processPin].filter((pin) => pin !== undefined)
      const [pin] = pins
      exchange.candidates = route?.endpoints.filter((endpoint) => pins.every((each) => isPinned(each, endpoint))) ?? []
      if (pin && exchange.candidates.length === 0) return answerWith('unknownInstance', exchange, describeMissing(pin, exchange))
    } else if (route) exchange.candidates = route.endpoints
    if (!route) {
      const isUnserved = unservedIs503 && findKnown(exchange.host, exchange.target)?.unserved === true
      return answerWith(isUnserved ? 'noEndpoints' : 'unknownRoute', exchange)
    }
    headers.remove('x-cf-app-instance')
    exchange.route = route
    return undefined
  }

function describeMissing({ kind, guid, index }: InstancePin, { hostHeader }: Exchange): string {
  const instance = index === undefined ? 'Requested instance' : `Requested instance ('${index}')`
  return `${instance} with ${kind === 'process' ? 'process guid' : 'guid'} ('${guid}') does not exist for route ('${hostHeader}')`
}
