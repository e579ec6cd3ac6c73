import { Agent, request, type RequestOptions } from 'node:https'
import type { ClientRequest, IncomingMessage } from 'node:http'
import { type NodeIdentity, RouteFeedMessage, type RouteAck, type RouteEntry, serverNameOf } from '@bloomery/contracts'
import type { Logger } from '@bloomery/telemetry'
import { NdjsonLines } from './ndjson-lines.js'

/** Heartbeats come every 5 s; a feed that is silent for three of them is dead. */
const SILENCE_MS = 15_000
/** Well below the five seconds for which a stop waits for routers. */
const BACKOFF_MS = { first: 100, most: 1_500 }
const ACK_TIMEOUT_MS = 5_000

/** Where the feed's news go. Both calls have been carried out when they return: the revision is acknowledged then. */
export interface RouteFeedReceiver {
  /** All routes there are; what is not named is gone. */
  snapshot(routes: readonly RouteEntry[], at: RouteAck): void
  change(upsert: readonly RouteEntry[], removeGuids: readonly string[], at: RouteAck): void
}

export interface RouteFeedOptions {
  /** https://host:port of the scheduler's internal listener. */
  readonly url: string
  /** Which process of the router this is, e.g. `w0`. */
  readonly worker: string
  /** Asked at each connection, since certificates are renewed while routers run. */
  readonly identity: () => NodeIdentity
  readonly receiver: RouteFeedReceiver
  /** Withdrawn instances that still answer requests; part of each acknowledgement. */
  readonly answering?: () => readonly string[]
  readonly log: Logger
  /** @default 15 s */
  readonly silenceMs?: number
}

export interface RouteFeedClient {
  /** Whether the feed is connected and has sent its snapshot. */
  readonly isCurrent: boolean
  /** When the scheduler was heard last, in milliseconds since the epoch; undefined: never. */
  readonly lastHeardAt: number | undefined
  /** Acknowledges once more: other instances are answering now. */
  acknowledge(): void
  close(): void
}

/** Follows the scheduler's route feed for ever: connects again after every loss, gap or silence, and acknowledges what was applied. */
export function followRouteFeed(options: RouteFeedOptions): RouteFeedClient {
  const feed = new FeedConnection(options)
  feed.connect()
  return feed
}

class FeedConnection implements RouteFeedClient {
  readonly #options: RouteFeedOptions
  readonly #acks: AckSender
  #call: ClientRequest | undefined
  #position: RouteAck | undefined
  /** Of a snapshot that is not complete yet. */
  #parts: RouteEntry[] = []
  #silence: NodeJS.Timeout | undefined
  #again: NodeJS.Timeout | undefined
  #heardAt: number | undefined
  #failures = 0
  #closed = false

  constructor(options: RouteFeedOptions) {
    this.#options = options
    this.#acks = new AckSender(options)
  }

  get lastHeardAt(): number | undefined {
    return this.#heardAt
  }

  get isCurrent(): boolean {
    return this.#position !== undefined
  }

  connect(): void {
    if (this.#closed) return
    let ended = false
    const end = (reason: string): void => {
      if (ended) return
      ended = true
      this.#connectLater(reason)
    }
    try {
      const call = request(callOptions(this.#options, 'GET', '/v1/routes/feed', { agent: false }))
      this.#call = call
      call.once('error', (error) => end(error.message))
      call.once('close', () => end('the feed ended'))
      call.once('response', (response) => this.#receive(response, end))
      call.end()
      this.#heard(end)
    } catch (error) {
      end(messageOf(error)) // e.g. the certificate is just being replaced
    }
  }

  acknowledge(): void {
    if (this.#position) this.#acks.repeat({ ...this.#position })
  }

  close(): void {
    this.#closed = true
    clearTimeout(this.#again)
    clearTimeout(this.#silence)
    this.#call?.destroy()
    this.#acks.close()
  }

  #receive(response: IncomingMessage, end: (reason: string) => void): void {
    if (response.statusCode !== 200) return end(`the scheduler answered ${response.statusCode ?? 0}`)
    const lines = new NdjsonLines()
    response.on('data', (chunk: Buffer) => {
      if (this.#call?.destroyed) return
      this.#heardAt = Date.now()
      this.#heard(end)
      try {
        for (const line of lines.push(chunk)) this.#apply(RouteFeedMessage.parse(JSON.parse(line)))
      } catch (error) {
        end(messageOf(error))
      }
    })
    response.once('error', (error) => end(error.message))
  }

  #apply(message: RouteFeedMessage): void {
    const { epoch, revision } = message
    const at = { epoch, revision }
    if (message.type === 'snapshot-part') {
      this.#parts.push(...message.routes)
      return
    }
    if (message.type === 'snapshot') {
      const routes = [...this.#parts, ...message.routes]
      this.#parts = []
      this.#options.receiver.snapshot(routes, at)
      this.#options.log.info({ epoch, revision, routes: routes.length }, 'route feed connected')
      this.#failures = 0
    } else {
      const expected = (this.#position?.revision ?? NaN) + (message.type === 'change' ? 1 : 0)
      if (this.#position?.epoch !== epoch || expected !== revision) throw new Error(`gap in the feed before revision ${revision}`)
      if (message.type === 'heartbeat') return this.#acks.repeat(at)
      const removed = message.remove.map(({ routeGuid }) => routeGuid)
      this.#options.receiver.change(message.upsert, removed, at)
    }
    this.#position = at
    this.#acks.send(at)
  }

  #heard(end: (reason: string) => void): void {
    clearTimeout(this.#silence)
    this.#silence = setTimeout(() => end('the feed was silent'), this.#options.silenceMs ?? SILENCE_MS)
  }

  #connectLater(reason: string): void {
    this.#position = undefined
    this.#parts = []
    clearTimeout(this.#silence)
    this.#call?.destroy()
    if (this.#closed) return
    const wait = Math.min(BACKOFF_MS.first * 2 ** this.#failures, BACKOFF_MS.most) * (0.75 + Math.random() / 2)
    // The first loss is worth a line, the hundredth attempt is not.
    if (this.#failures === 0) this.#options.log.warn({ reason }, 'route feed lost; the last known routes stay')
    else this.#options.log.debug({ reason }, 'route feed cannot be reached')
    this.#failures++
    this.#again = setTimeout(() => this.connect(), wait)
  }
}

/** Sends the newest position, one call at a time: while one is under way the positions in between need no word of their own. */
class AckSender {
  readonly #options: RouteFeedOptions
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1 })
  #wanted: RouteAck | undefined
  #sent: RouteAck | undefined
  #busy = false

  constructor(options: RouteFeedOptions) {
    this.#options = options
  }

  send(at: RouteAck): void {
    this.#wanted = at
    if (!this.#busy) void this.#drain()
  }

  /** Tries again what could not be sent; a heartbeat is also the router's sign of life. */
  repeat(at: RouteAck): void {
    this.#sent = undefined
    this.send(at)
  }

  close(): void {
    this.#wanted = undefined
    this.#agent.destroy()
  }

  async #drain(): Promise<void> {
    this.#busy = true
    try {
      while (this.#wanted && this.#wanted !== this.#sent) {
        const at = this.#wanted
        await this.#post(at)
        this.#sent = at
      }
    } catch (error) {
      this.#options.log.debug({ reason: messageOf(error) }, 'acknowledgement failed; the next heartbeat repeats it')
    } finally {
      this.#busy = false
    }
  }

  #post(at: RouteAck): Promise<void> {
    return new Promise((resolve, reject) => {
      const call = request(
        callOptions(this.#options, 'POST', '/v1/routes/ack', { agent: this.#agent, timeout: ACK_TIMEOUT_MS }),
        (response) => {
          response.resume()
          response.once('end', () => {
            if (response.statusCode === 204 || response.statusCode === 200) resolve()
            else reject(new Error(`the scheduler answered ${response.statusCode ?? 0}`))
          })
          response.once('error', reject)
        },
      )
      call.once('timeout', () => call.destroy(new Error('no answer in time')))
      call.once('error', reject)
      call.setHeader('content-type', 'application/json')
      call.end(JSON.stringify({ ...at, answering: this.#options.answering?.() ?? [] }))
    })
  }
}

function callOptions(options: RouteFeedOptions, method: string, path: string, more: RequestOptions): RequestOptions {
  const { certificatePem: cert, privateKeyPem: key, authorityPem: ca } = options.identity()
  const url = new URL(options.url)
  return {
    host: url.hostname.replace(/^\[|\]$/g, ''),
    port: url.port || 443,
    method,
    path: `${path}?worker=${encodeURIComponent(options.worker)}`,
    ...{ cert, key, ca, servername: serverNameOf('scheduler') },
    ...more,
  }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
