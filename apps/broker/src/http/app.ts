import type { Logger } from '@bloomery/telemetry'
import fastify, { type FastifyInstance } from 'fastify'
import { presentCatalog } from '../catalog/catalog.js'
import { OsbError } from './errors.js'
import { authenticate, checkHeaders } from './guard.js'
import type { AppParts } from './app-parts.js'
import { serviceBindingRoutes } from './service-bindings.js'
import { serviceInstanceRoutes } from './service-instances.js'

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
