import type { Exchange, Middleware } from '../proxy/exchange.js'

/** Tells the log of each request once it is over, errors included. */
export const accessLog =
  (record: (exchange: Exchange, finishedAt: number) => void): Middleware =>
  async (exchange, next) => {
    try {
      await next()
    } finally {
      record(exchange, performance.timeOrigin + performance.now())
    }
  }
