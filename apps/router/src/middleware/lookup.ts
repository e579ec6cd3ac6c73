import type { RouteEntry } from '@bloomery/contracts'
import { isPinned, parseInstancePin, type InstancePin } from '@bloomery/domain'
import { answer } from '../answers.js'
import type { Exchange, Middleware } from '../proxy/exchange.js'

/** Finds the route, and the one instance that a request asks for by X-CF-App-Instance or X-CF-Process-Instance. */
export const lookup =
  (find: (host: string, target: string) => RouteEntry | undefined): Middleware =>
  async (exchange, next) => {
    const route = find(exchange.host, exchange.target)
    const app = exchange.headers.get('x-cf-app-instance')
    const process = exchange.headers.get('x-cf-process-instance')
    const appPin = app ? parseInstancePin('app', app) : undefined
    if (app && !appPin) return answer(exchange, 'badAppInstance')
    const processPin = process ? parseInstancePin('process', process) : undefined
    if (process && !processPin) return answer(exchange, 'badProcessInstance')
    const pins = [appPin, processPin].filter((pin) => pin !== undefined)
    const candidates = route?.endpoints.filter((endpoint) => pins.every((pin) => isPinned(pin, endpoint))) ?? []
    const [pin] = pins
    if (pin && candidates.length === 0) return answer(exchange, 'unknownInstance', describeMissing(pin, exchange))
    if (!route) return answer(exchange, 'unknownRoute')
    if (route.routeServiceUrl !== undefined) return answer(exchange, 'routeServiceUnsupported')
    exchange.headers.remove('x-cf-app-instance')
    exchange.route = route
    exchange.candidates = candidates
    return next()
  }

function describeMissing({ kind, guid, index }: InstancePin, { hostHeader }: Exchange): string {
  const instance = index === undefined ? 'Requested instance' : `Requested instance ('${index}')`
  return `${instance} with ${kind === 'process' ? 'process guid' : 'guid'} ('${guid}') does not exist for route ('${hostHeader}')`
}
