import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import type { NodeRole } from '@bloomery/contracts'
import type { Logger } from '@bloomery/telemetry'
import { internalPeer, type InternalPeer } from '@bloomery/feeds'
import { z } from 'zod'

const MAX_BODY_BYTES = 32 * 1024 * 1024

/** An answer other than success; the caller reads status and reason. */
export class RefusedError extends Error {
  override readonly name = 'RefusedError'
  constructor(
    readonly status: 400 | 403 | 404 | 409 | 413 | 503,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options)
  }
}

export interface InternalRequest {
  readonly peer: InternalPeer
  readonly url: URL
  readonly request: IncomingMessage
  readonly response: ServerResponse
  /** Aborted when the caller hangs up. */
  readonly signal: AbortSignal
  readonly body: <T>(schema: z.ZodType<T>) => Promise<T>
}

/** An endpoint; `undefined` as an answer is 204, `handled` means that the handler answers by itself. */
export interface Endpoint {
  readonly method: 'GET' | 'POST'
  readonly path: string
  readonly roles: readonly NodeRole[] | 'any'
  readonly handle: (request: InternalRequest) => Promise<{ readonly json: unknown } | undefined | 'handled'>
}

/** Answers the endpoints; each says which roles may call it. */
export function internalApi(endpoints: readonly Endpoint[], log: Logger): RequestListener {
  return (request, response) => {
    answer(endpoints, request, response).catch((error: unknown) => refuse(error, request, response, log))
  }
}

async function answer(endpoints: readonly Endpoint[], request: IncomingMessage, response: ServerResponse): Promise<void> {
  const url = new URL(request.url ?? '/', 'https://scheduler.bloomery.internal')
  const endpoint = endpoints.find(({ method, path }) => method === request.method && path === url.pathname)
  if (!endpoint) throw new RefusedError(404, `There is no ${request.method ?? ''} ${url.pathname} here.`)
  const peer = internalPeer(request)
  if (!peer || (endpoint.roles !== 'any' && !endpoint.roles.includes(peer.role)))
    throw new RefusedError(403, `${endpoint.path} is not for ${peer ? `a ${peer.role}` : 'a peer without a name'}.`)
  const gone = new AbortController()
  response.once('close', () => gone.abort())
  const result = await endpoint.handle({
    peer,
    url,
    request,
    response,
    signal: gone.signal,
    body: (schema) => readBody(request, schema),
  })
  if (result === 'handled') return
  if (result === undefined) response.writeHead(204).end()
  else writeJson(response, 200, result.json)
}

async function readBody<T>(request: IncomingMessage, schema: z.ZodType<T>): Promise<T> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > MAX_BODY_BYTES) throw new RefusedError(413, 'The body is too large.')
    chunks.push(chunk)
  }
  const parsed = schema.safeParse(parseJson(Buffer.concat(chunks).toString('utf8')))
  if (!parsed.success) throw new RefusedError(400, z.prettifyError(parsed.error))
  return parsed.data
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new RefusedError(400, 'The body is not JSON.', { cause: error })
  }
}

function refuse(error: unknown, request: IncomingMessage, response: ServerResponse, log: Logger): void {
  const refused = error instanceof RefusedError ? error : undefined
  if (refused) log.debug({ status: refused.status, reason: refused.message, url: request.url }, 'refused')
  else if (!response.destroyed) log.warn({ err: error, url: request.url }, 'request failed, the caller will try again')
  if (response.headersSent || response.destroyed) return void response.destroy()
  // What fails here is the database or a lost lease: both pass.
  writeJson(response, refused?.status ?? 503, { error: refused?.message ?? 'The scheduler cannot answer now.' })
}

function writeJson(response: ServerResponse, status: number, value: unknown): void {
  const text = JSON.stringify(value)
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(text),
    ...(status === 503 ? { 'retry-after': '1' } : {}),
  })
  response.end(text)
}
