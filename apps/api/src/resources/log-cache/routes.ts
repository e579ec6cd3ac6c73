import { setTimeout as delay } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import type { Context } from '../../http/context.js'
import { notFound } from '../../http/errors.js'
import type { LogReader } from '../../logs/log-reader.js'

interface BySource {
  Params: { source: string }
}
/** Tails ask four times a second; one that finds nothing waits here a moment instead of asking, being authorised and parsed anew. */
const PAUSE_MS = 250
const MAX_PAUSES = 3

/** log-cache's read side, as the client's log commands speak it. */
export function logCacheRoutes(app: FastifyInstance, context: Context): void {
  const { db, logReader } = context
  const startedAt = context.now().getTime()

  app.get('/api/v1/info', { config: { permission: 'public' } }, async () => ({
    version: '3.0.0',
    vm_uptime: String(Math.floor((context.now().getTime() - startedAt) / 1000)),
  }))

  app.get<BySource>('/api/v1/read/:source', { config: { permission: 'space.read' } }, async (request, reply) => {
    const { source } = request.params
    const found = await db.app.findUnique({ where: { guid: source }, include: { space: true } })
    // An app that is gone has no reader left but the operators.
    if (!found && !request.access.isGlobalReader) throw notFound('Source')
    if (found) await request.access.requireInSpace('space.read', found.space, 'Source not found')
    const left = new AbortController()
    reply.raw.once('close', () => left.abort())
    const query = new URL(request.url, request.baseUrl).searchParams
    return readWhenThereIsSomething(logReader, source, query, left.signal)
  })

  app.get('/api/v1/meta', { config: { permission: 'authenticated' } }, async (request) => {
    if (request.access.isGlobalReader) return logReader.meta()
    const visible = await db.app.findMany({ where: { space: request.access.spaces() }, select: { guid: true } })
    return logReader.meta(visible.map(({ guid }) => guid))
  })
}

async function readWhenThereIsSomething(
  logReader: LogReader,
  source: string,
  query: URLSearchParams,
  left: AbortSignal,
): Promise<unknown> {
  for (let pause = 0; ; pause++) {
    const answer = await logReader.read(source, query)
    if (pause === MAX_PAUSES || !isTail(query) || !isEmpty(answer) || left.aborted) return answer
    await delay(PAUSE_MS, undefined, { signal: left }).catch(() => undefined)
  }
}

/** A walk forward without an end; whoever looks back wants to know at once that there is nothing. */
const isTail = (query: URLSearchParams): boolean => !query.has('end_time') && query.get('descending') !== 'true'

function isEmpty(answer: unknown): boolean {
  const { envelopes } = answer as { envelopes?: { batch?: readonly unknown[] } }
  return (envelopes?.batch ?? []).length === 0
}
