import type { Logger } from '@bloomery/telemetry'
import { answer } from '../answers.js'
import type { Middleware } from '../proxy/exchange.js'

/** A fault of the router's own costs one request, never the process. */
export const guardPanic =
  (log: Logger): Middleware =>
  async (exchange, next) => {
    try {
      await next()
    } catch (error) {
      log.error({ err: error, requestId: exchange.requestId }, 'unexpected failure while serving a request')
      answer(exchange, 'unknownFailure')
    }
  }
