import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'

/** One request as the broker saw it. */
export interface SeenRequest {
  readonly operation: ScriptedOperation
  readonly method: string
  readonly path: string
  readonly query: URLSearchParams
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  // Tests look into bodies freely.
  readonly body: ReturnType<typeof JSON.parse>
  readonly instanceGuid: string | undefined
  readonly bindingGuid: string | undefined
}
export type ScriptedOperation =
  'catalog' | 'provision' | 'update' | 'deprovision' | 'bind' | 'unbind' | 'fetch-instance' | 'fetch-binding' | 'last-operation'

/** What to answer instead of the usual; what is left out stays usual. */
export interface Script {
  readonly status?: number
  /** An object is sent as JSON, a text as it is. */
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
  readonly delayMs?: number
  /** Answers so long after it has done what was asked for. */
  readonly lateMs?: number
  /** Never answers. */
  readonly hang?: true
  /** Sends the answer byte by byte, this far apart. */
  readonly trickleMs?: number
  /** Sends so many bytes more. */
  readonly padBytes?: number
  /** Breaks the connection instead of answering; what was asked for is done. */
  readonly breakOff?: true
  /** Does what was asked for although the status says otherwise, or the other way round. @default a status of 2xx does */
  readonly does?: boolean
  /** How many requests it is for. @default all */
  readonly times?: number
}

const PLAN = { id: 'plan-small', name: 'small', description: 'A small one' }
/** An offering with all that a broker can have, beside one that has nothing. */
export const SCRIPTED_CATALOG = {
  services: [
    {
      id: 'service-db',
      name: 'db',
      description: 'A database',
      bindable: true,
      plan_updateable: true,
      instances_retrievable: true,
      bindings_retrievable: true,
      tags: ['sql'],
      metadata: { shareable: true },
      plans: [
        { ...PLAN, maintenance_info: { version: '1.0.0' } },
        {
          id: 'plan-large',
          name: 'large',
          description: 'A large one',
          free: false,
          maintenance_info: { version: '1.0.0' },
          metadata: { costs: [{ amount: { usd: 9.5 }, unit: 'MONTHLY' }] },
        },
      ],
    },
    {
      id: 'service-plain',
      name: 'plain',
      description: 'Bare',
      bindable: false,
      plans: [{ ...PLAN, id: 'plan-plain', name: 'only' }],
    },
  ],
}

/**
 * A small broker for tests: it holds instances and bindings as a real one does, synchronously or not, and plays any status, body,
 * delay or broken answer that a script names.
 */
export class ScriptedBroker {
  readonly username = 'admin'
  readonly password = 'secret'
  readonly requests: SeenRequest[] = []
  /** What it holds: instance → its plan, parameters and bindings. */
  readonly instances = new Map<string, { body: SeenRequest['body']; bindings: Map<string, SeenRequest['body']> }>()
  catalog: unknown = SCRIPTED_CATALOG
  /** Answers 202 and wants so many polls. 0: answers at once. */
  asyncPolls = 0
  /** How an asynchronous operation ends. */
  asyncEnd: 'succeeded' | 'failed' | 'never' = 'succeeded'
  readonly #scripts = new Map<ScriptedOperation, (Script & { used: number })[]>()
  readonly #pending = new Map<string, { polls: number; finish: () => void }>()
  #server: Server | undefined
  #url = ''

  static async start(): Promise<ScriptedBroker> {
    const broker = new ScriptedBroker()
    const server = createServer((request, response) => {
      broker.#answer(request, response).catch(() => response.destroy())
    })
    broker.#server = server
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    broker.#url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    return broker
  }

  get url(): string {
    return this.#url
  }

  /** Scripts are used in the order in which they were given. */
  script(operation: ScriptedOperation, script: Script): void {
    this.#scripts.set(operation, [...(this.#scripts.get(operation) ?? []), { ...script, used: 0 }])
  }

  /** Forgets scripts and what was asked, not what it holds. */
  reset(): void {
    this.#scripts.clear()
    this.requests.length = 0
    this.asyncPolls = 0
    this.asyncEnd = 'succeeded'
    this.catalog = SCRIPTED_CATALOG
  }

  seen(operation: ScriptedOperation, guid?: string): SeenRequest[] {
    return this.requests.filter(
      (each) => each.operation === operation && (guid === undefined || each.instanceGuid === guid || each.bindingGuid === guid),
    )
  }

  async stop(): Promise<void> {
    this.#server?.closeAllConnections()
    await new Promise<void>((resolve) => (this.#server ? this.#server.close(() => resolve()) : resolve()))
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const seen = await read(request)
    if (!seen) {
      response.writeHead(404).end('{}')
      return
    }
    this.requests.push(seen)
    const script = this.#scriptFor(seen.operation)
    if (script?.hang) return
    if (script?.delayMs) await delay(script.delayMs)
    const expected = `Basic ${Buffer.from(`${this.username}:${this.password}`).toString('base64')}`
    const isKnown = seen.headers['authorization'] === expected
    const does = script?.does ?? (script?.status === undefined || (script.status >= 200 && script.status < 300))
    const usual = !isKnown
      ? { status: 401, body: {} }
      : does
        ? this.#usual(seen, script?.status === 202)
        : { status: 500, body: {} }
    if (script?.lateMs) await delay(script.lateMs)
    if (script?.breakOff) {
      response.destroy()
      return
    }
    const body = script && 'body' in script ? script.body : usual.body
    const text = typeof body === 'string' ? body : JSON.stringify(body)
    response.writeHead(script?.status ?? usual.status, { 'content-type': 'application/json', ...script?.headers })
    if (script?.trickleMs) {
      for (const byte of text) {
        if (response.destroyed) return
        response.write(byte)
        await delay(script.trickleMs)
      }
      response.end()
    } else if (script?.padBytes) {
      const chunk = Buffer.alloc(64 * 1024, ' ')
      for (let sent = 0; sent < script.padBytes && !response.destroyed; sent += chunk.length)
        if (!response.write(chunk))
          await new Promise<void>((resolve) => response.once('drain', resolve).once('close', () => resolve()))
      response.end(text)
    } else response.end(text)
  }

  #scriptFor(operation: ScriptedOperation): Script | undefined {
    const script = this.#scripts.get(operation)?.find(({ times = Infinity, used }) => used < times)
    if (script) script.used++
    return script
  }

  #usual(seen: SeenRequest, isAsync: boolean): { status: number; body: unknown } {
    const guid = seen.instanceGuid ?? ''
    const instance = this.instances.get(guid)
    const key = seen.bindingGuid ?? guid
    const later = (kind: string, finish: () => void, now: { status: number; body: unknown }) => {
      if (this.asyncPolls === 0 && !isAsync) {
        finish()
        return now
      }
      this.#pending.set(key, { polls: Math.max(this.asyncPolls, 1), finish })
      return { status: 202, body: { operation: `${kind}-${key}` } }
    }
    switch (seen.operation) {
      case 'catalog':
        return { status: 200, body: this.catalog }
      case 'provision': {
        if (instance) return { status: 200, body: {} }
        this.instances.set(guid, { body: seen.body, bindings: new Map() })
        return later('provision', () => undefined, {
          status: 201,
          body: { dashboard_url: `https://dashboard.example.com/${guid}` },
        })
      }
      case 'update':
        return later('update', () => instance && (instance.body = { ...instance.body, ...seen.body }), { status: 200, body: {} })
      case 'deprovision':
        if (!instance) return { status: 410, body: {} }
        return later('deprovision', () => this.instances.delete(guid), { status: 200, body: {} })
      case 'bind':
        instance?.bindings.set(key, seen.body)
        return later('bind', () => undefined, { status: 201, body: { credentials: { uri: `db://${key}` } } })
      case 'unbind':
        if (!instance?.bindings.has(key)) return { status: 410, body: {} }
        return later('unbind', () => instance.bindings.delete(key), { status: 200, body: {} })
      case 'fetch-instance':
        return instance ? { status: 200, body: { parameters: instance.body.parameters ?? {} } } : { status: 404, body: {} }
      case 'fetch-binding':
        return instance?.bindings.has(key)
          ? { status: 200, body: { credentials: { uri: `db://${key}` } } }
          : { status: 404, body: {} }
      case 'last-operation':
        return this.#poll(key)
    }
  }

  #poll(key: string): { status: number; body: unknown } {
    const pending = this.#pending.get(key)
    if (!pending) return { status: 410, body: {} }
    pending.polls--
    if (this.asyncEnd === 'never' || pending.polls > 0)
      return { status: 200, body: { state: 'in progress', description: 'working' } }
    this.#pending.delete(key)
    if (this.asyncEnd === 'failed') return { status: 200, body: { state: 'failed', description: 'it broke' } }
    pending.finish()
    return { status: 200, body: { state: 'succeeded', description: 'done' } }
  }
}

const ROUTE = /^\/v2\/(?:catalog|service_instances\/([^/]+)(?:\/service_bindings\/([^/]+))?(\/last_operation)?)$/

async function read(request: IncomingMessage): Promise<SeenRequest | undefined> {
  const url = new URL(request.url ?? '/', 'http://broker')
  const match = ROUTE.exec(url.pathname)
  if (!match) return undefined
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  const text = Buffer.concat(chunks).toString('utf8')
  const [, instanceGuid, bindingGuid, poll] = match
  const ofBinding = bindingGuid !== undefined
  const byMethod: Record<string, ScriptedOperation> = {
    PUT: ofBinding ? 'bind' : 'provision',
    PATCH: 'update',
    DELETE: ofBinding ? 'unbind' : 'deprovision',
    GET: ofBinding ? 'fetch-binding' : 'fetch-instance',
  }
  const operation = instanceGuid === undefined ? 'catalog' : poll ? 'last-operation' : byMethod[request.method ?? '']
  if (!operation) return undefined
  return {
    operation,
    method: request.method ?? '',
    path: url.pathname,
    query: url.searchParams,
    headers: request.headers,
    body: text === '' ? undefined : JSON.parse(text),
    instanceGuid,
    bindingGuid,
  }
}
