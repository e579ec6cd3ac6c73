import { createHash } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Server } from 'node:https'
import type { Socket } from 'node:net'
import {
  type Envelope,
  IngestBatch,
  type InstanceMetrics,
  type LogLine,
  type NodeIdentity,
  type NodeRole,
} from '@bloomery/contracts'
import { createInternalServer, internalPeer, type InternalPeer } from '@bloomery/feeds'
import type { Logger } from '@bloomery/telemetry'
import type { LatestMetrics } from '../metrics/latest-metrics.js'
import type { LogStore } from '../segments/log-store.js'
import { isSourceId } from '../segments/log-store.js'
import { parseLogQuery, parseWait } from './log-query.js'
import { readBody, RequestError } from './read-body.js'

const MAX_BATCH_BYTES = 8 * 1024 * 1024
const WRITERS: readonly NodeRole[] = ['cell', 'stager', 'router', 'api', 'scheduler', 'logs']
const READERS: readonly NodeRole[] = ['api']

interface Dependencies {
  readonly identity: NodeIdentity
  readonly store: LogStore
  readonly metrics: LatestMetrics
  /** Told of each measurement. */
  readonly onMetrics?: (metrics: InstanceMetrics) => void
  readonly logger: Logger
}

/** The log store's protocol (see the contracts' envelopes) over mutual TLS. */
export function createLogStoreServer(dependencies: Dependencies): Server {
  const { logger } = dependencies
  const peers = new WeakMap<Socket, InternalPeer>()
  return createInternalServer(dependencies.identity, (request, response) => {
    const peer = peers.get(request.socket) ?? internalPeer(request)
    if (peer) peers.set(request.socket, peer)
    answer(dependencies, peer, request, response).catch((error: unknown) => {
      const status = error instanceof RequestError ? error.status : 503
      if (status === 503) logger.error({ err: error, peer, url: request.url }, 'request to the log store failed')
      if (response.headersSent || response.destroyed) return response.destroy()
      const message = error instanceof RequestError ? error.message : 'the log store could not do this now; try again'
      return sendJson(response, status, { error: message })
    })
  })
}

async function answer(
  { store, metrics, onMetrics }: Dependencies,
  peer: InternalPeer | undefined,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const url = new URL(request.url ?? '/', 'https://logs')
  const [version, resource, sourceId, ...rest] = url.pathname.slice(1).split('/')
  const route = version === 'v1' && rest.length === 0 ? `${request.method ?? ''} ${resource ?? ''}` : ''
  switch (route) {
    case 'POST ingest': {
      const from = allow(peer, WRITERS)
      const batch = parseBatch(await readBody(request, MAX_BATCH_BYTES))
      for (const envelope of batch.envelopes) {
        if (envelope.kind !== 'metrics') continue
        metrics.note(envelope)
        onMetrics?.(envelope)
      }
      const lines = batch.envelopes.filter(isLine)
      await store.append({ sender: senderKey(from, batch.sender), sequence: batch.sequence, lines })
      response.writeHead(204).end()
      return
    }
    case 'GET read': {
      allow(peer, READERS)
      const query = parseLogQuery(url.searchParams)
      const wait = parseWait(url.searchParams)
      const gone = new AbortController()
      if (wait > 0) response.once('close', () => gone.abort())
      const batch = query ? await store.readOrWait(checked(sourceId), query, wait, gone.signal) : []
      return sendJson(response, 200, { envelopes: { batch } })
    }
    case 'GET meta': {
      allow(peer, READERS)
      const asked = url.searchParams.getAll('source_id').filter(isSourceId)
      const meta = await store.meta(url.searchParams.has('source_id') ? asked : undefined)
      return sendJson(response, 200, { meta: Object.fromEntries([...meta].map(([id, value]) => [id, presentMeta(value)])) })
    }
    case 'GET metrics':
      allow(peer, READERS)
      return sendJson(response, 200, metrics.of(checked(sourceId)))
    case 'DELETE sources':
      allow(peer, READERS)
      metrics.forget(checked(sourceId))
      await store.forget(checked(sourceId))
      response.writeHead(204).end()
      return
    default:
      throw new RequestError(404, `no such resource: ${request.method ?? ''} ${url.pathname}`)
  }
}

const isLine = (envelope: Envelope): envelope is LogLine => envelope.kind === 'log'

function allow(peer: InternalPeer | undefined, roles: readonly NodeRole[]): InternalPeer {
  if (peer && roles.includes(peer.role)) return peer
  throw new RequestError(403, `a certificate of ${peer?.role ?? 'no role'} may not do this; it takes one of ${roles.join(', ')}`)
}

function checked(sourceId: string | undefined): string {
  if (sourceId !== undefined && isSourceId(sourceId)) return sourceId
  throw new RequestError(400, 'the source must be an app guid')
}

function parseBatch(body: Buffer): IngestBatch {
  let json: unknown
  try {
    json = JSON.parse(body.toString())
  } catch (error) {
    throw new RequestError(400, 'the batch is not JSON', { cause: error })
  }
  const batch = IngestBatch.safeParse(json)
  if (batch.success) return batch.data
  const [issue] = batch.error.issues
  throw new RequestError(400, `not a batch: ${issue?.path.join('.') ?? ''} ${issue?.message ?? ''}`)
}

/** Senders are told apart by certificate first, so that none can pass for another. Never 0. */
function senderKey(peer: InternalPeer, sender: string): bigint {
  const digest = createHash('sha256').update(`${peer.role}:${peer.nodeId}|${sender}`).digest()
  return digest.readBigUInt64LE(0) | 1n
}

interface Meta {
  readonly count: number
  readonly expired: number
  readonly oldest: bigint | undefined
  readonly newest: bigint | undefined
}

const presentMeta = ({ count, expired, oldest, newest }: Meta) => ({
  count: String(count),
  expired: String(expired),
  oldest_timestamp: String(oldest ?? 0n),
  newest_timestamp: String(newest ?? 0n),
})

function sendJson(response: ServerResponse, status: number, body: unknown): void {
  const bytes = Buffer.from(JSON.stringify(body))
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': bytes.length }).end(bytes)
}
