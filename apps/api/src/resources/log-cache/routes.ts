import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Context } from '../../http/context.js'
import { notFound } from '../../http/errors.js'

interface BySource {
  Params: { source: string }
}
/** Tails ask four times a second; one that finds nothing waits here for a line instead of asking, being authorised and parsed anew. */
const WAIT_MS = 1_000
/** A client that asks for it, by `Prefer: wait=SECONDS`, may wait longer. */
const LONGEST_WAIT_MS = 5_000

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
    const query = new URL(request.url, request.baseUrl).searchParams
    if (!isTail(query)) return logReader.read(source, query)
    const left = new AbortController()
    reply.raw.once('close', () => left.abort())
    // Who says how long to wait shows every line at once.
    const hidesYoungLines = request.headers['prefer'] === undefined
    if (hidesYoungLines) context.tails.noteRead(source)
    const envelopes = await logReader.read(source, query, { waitMs: waitOf(request), signal: left.signal })
    if (hidesYoungLines) context.tails.noteRead(source)
    return envelopes
  })

  app.get('/api/v1/meta', { config: { permission: 'authenticated' } }, async (request) => {
    if (request.access.isGlobalReader) return logReader.meta()
    const visible = await db.app.findMany({ where: { space: request.access.spaces() }, select: { guid: true } })
    return logReader.meta(visible.map(({ guid }) => guid))
  })
}

/** A walk forward without an end; whoever looks back wants to know at once that there is nothing. */
const isTail = (query: URLSearchParams): boolean => !query.has('end_time') && query.get('descending') !== 'true'

function waitOf({ headers }: FastifyRequest): number {
  const asked = /^wait=(\d{1,4})$/.exec(String(headers['prefer']))?.[1]
  return asked === undefined ? WAIT_MS : Math.min(Number(asked) * 1000, LONGEST_WAIT_MS)
}
