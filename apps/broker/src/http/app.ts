import type { Pool } from '@bloomery/database/sql'
import type { Logger } from '@bloomery/telemetry'
import fastify, { type FastifyInstance } from 'fastify'
import { presentCatalog } from '../catalog/catalog.js'
import type { Engine } from '../engines/engine.js'
import type { Intake } from '../operations/intake.js'
import type { OperationLog } from '../operations/operation-log.js'
import type { Vault } from '../state/vault.js'
import { OsbError } from './errors.js'
import { type Account, authenticate, checkHeaders } from './guard.js'
import { serviceBindingRoutes } from './service-bindings.js'
import { serviceInstanceRoutes } from './service-instances.js'

export interface AppParts {
  readonly pool: Pool
  /** All there are; those that are here now are asked for with each catalog. */
  readonly engines: readonly Engine[]
  readonly available: () => readonly Engine[]
  readonly account: Account
  readonly intake: Intake
  readonly operations: OperationLog
  readonly vault: Vault
  /** Called after an operation was written down. */
  readonly nudge: () => void
  /** How long an answer may wait for an operation to end before it says 202. */
  readonly patienceMs: number
  readonly metrics: () => Promise<string>
  readonly log: Logger
}

/** The broker's listener. */
export function buildApp(parts: AppParts): FastifyInstance {
  const app = fastify({
    logger: false,
    bodyLimit: 1024 * 1024,
    routerOptions: { maxParamLength: 1000 },
    requestTimeout: 30_000,
    forceCloseConnections: true,
  })
  app.setErrorHandler((error, request, reply) => answerError(error, request.url, reply, parts.log))
  app.setNotFoundHandler((request, reply) => {
    authenticate(request, parts.account)
    return reply.code(404).send({ description: 'There is no such resource.' })
  })
  app.get('/healthz', () => ({ status: 'ok' }))
  app.get('/metrics', async (request, reply) => {
    authenticate(request, parts.account)
    return reply.type('text/plain; version=0.0.4').send(await parts.metrics())
  })
  void app.register(async (osb) => {
    osb.addHook('onRequest', async (request, reply) => {
      authenticate(request, parts.account)
      checkHeaders(request, reply)
    })
    osb.get('/v2/catalog', () => presentCatalog(parts.available()))
    await osb.register(serviceInstanceRoutes, parts)
    await osb.register(serviceBindingRoutes, parts)
  })
  return app
}

function answerError(
  error: unknown,
  url: string,
  reply: { code(status: number): { send(body: unknown): unknown }; header(name: string, value: string): unknown },
  log: Logger,
): unknown {
  if (error instanceof OsbError) {
    if (error.status === 401) reply.header('www-authenticate', 'Basic realm="Bloomery service broker"')
    return reply.code(error.status).send(error.status === 410 ? {} : error.body)
  }
  const { statusCode, message } = error as { statusCode?: number; message: string }
  if (statusCode !== undefined && statusCode < 500)
    return reply.code(statusCode === 415 ? 400 : statusCode).send({ description: message })
  log.error({ err: error, url }, 'a request failed')
  return reply.code(500).send({ description: 'An internal error of the service broker; its log says more.' })
}
