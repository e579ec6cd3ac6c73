import { randomUUID } from 'node:crypto'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { brokerPasswordContext } from '../service-operations/brokers.js'
import type { Json, TestApi } from '../testing.fixture.js'

export interface BrokerCall {
  readonly method: string
  readonly path: string
  readonly query: URLSearchParams
  readonly body: Json
  readonly headers: Record<string, unknown>
}
export interface BrokerReply {
  readonly status: number
  readonly body?: unknown
  /** Never answers. */
  readonly hang?: true
}

/** A broker that answers as a test tells it; by default it binds at once with credentials of its own for each binding. */
export class BindingBroker {
  readonly calls: BrokerCall[] = []
  answer: (call: BrokerCall) => BrokerReply | undefined = () => undefined
  #server: Server | undefined

  async start(): Promise<string> {
    const server = createServer((request, response) => {
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('end', () => {
        const url = new URL(request.url ?? '/', 'http://broker')
        const text = Buffer.concat(chunks).toString()
        const call: BrokerCall = {
          method: request.method ?? '',
          path: url.pathname,
          query: url.searchParams,
          body: text === '' ? undefined : JSON.parse(text),
          headers: request.headers,
        }
        this.calls.push(call)
        const reply = this.answer(call) ?? usual(call)
        if (reply.hang) return
        response.writeHead(reply.status, { 'content-type': 'application/json' }).end(JSON.stringify(reply.body ?? {}))
      })
    })
    this.#server = server
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  }

  of(method: string, part: string): BrokerCall[] {
    return this.calls.filter((call) => call.method === method && call.path.includes(part))
  }

  close(): void {
    this.#server?.closeAllConnections()
    this.#server?.close()
  }
}

const usual = ({ method, path }: BrokerCall): BrokerReply => {
  const binding = path.split('/service_bindings/')[1]?.split('/')[0]
  if (method === 'PUT') return { status: 201, body: { credentials: { uri: `mysql://u:secret-${binding ?? ''}@db:3306/d` } } }
  if (path.endsWith('/last_operation')) return { status: 200, body: { state: 'succeeded' } }
  if (method === 'GET') return { status: 200, body: { credentials: { fetched: binding }, parameters: { size: 3 } } }
  return { status: 200 }
}

/** A managed instance at that broker, as if it had been created. */
export async function aManagedInstance(
  { context }: TestApi,
  spaceGuid: string,
  brokerUrl: string,
  options: {
    readonly name?: string
    readonly requires?: readonly string[]
    readonly bindable?: boolean
    readonly retrievable?: boolean
    readonly offeringName?: string
    readonly brokerSpaceGuid?: string
  } = {},
): Promise<{ guid: string; name: string; brokerGuid: string; planGuid: string }> {
  const { db, keyring } = context
  const [brokerGuid, offeringGuid, planGuid, guid] = [randomUUID(), randomUUID(), randomUUID(), randomUUID()]
  const name = options.name ?? `db-${guid.slice(0, 8)}`
  await db.serviceBroker.create({
    data: {
      guid: brokerGuid,
      name: `broker-${brokerGuid}`,
      url: brokerUrl,
      username: 'u',
      passwordEncrypted: { ...keyring.encrypt('p', brokerPasswordContext(brokerGuid)) },
      state: 'AVAILABLE',
      spaceGuid: options.brokerSpaceGuid ?? null,
    },
  })
  await db.serviceOffering.create({
    data: {
      guid: offeringGuid,
      brokerGuid,
      catalogId: `o-${offeringGuid}`,
      name: options.offeringName ?? 'mysql',
      description: 'd',
      bindable: options.bindable ?? true,
      bindingsRetrievable: options.retrievable ?? true,
      tags: ['mysql', 'relational'],
      requires: [...(options.requires ?? [])],
    },
  })
  await db.servicePlan.create({
    data: { guid: planGuid, offeringGuid, catalogId: `p-${planGuid}`, name: 'small', description: 'd', visibilityType: 'public' },
  })
  const now = new Date().toISOString()
  await db.serviceInstance.create({
    data: {
      guid,
      name,
      type: 'managed',
      spaceGuid,
      planGuid,
      tags: ['mine', 'mysql'],
      lastOperation: { type: 'create', state: 'succeeded', description: '', created_at: now, updated_at: now },
    },
  })
  return { guid, name, brokerGuid, planGuid }
}
