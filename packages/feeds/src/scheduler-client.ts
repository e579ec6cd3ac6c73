import { Agent, request } from 'node:https'
import {
  type AskDeleted,
  CellDesired,
  CellRegistered,
  CellReported,
  type CellReport,
  DeletedDroplets,
  type RegisterCell,
  serverNameOf,
  type TellLeftovers,
} from '@bloomery/contracts'
import type { IdentitySource } from './mutual-tls.js'

/** The scheduler's longest wait is 20 s. */
const DESIRED_TIMEOUT_MS = 30_000
const CALL_TIMEOUT_MS = 10_000

/** The scheduler answered, but not with what was asked for. 409: it does not know this agent, or a newer one has taken its place. */
export class SchedulerRefusal extends Error {
  override readonly name = 'SchedulerRefusal'
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message)
  }
}

/** The cell's side of the cell protocol. Every call rejects with SchedulerRefusal or the connection's error. */
export interface SchedulerClient {
  register(cell: RegisterCell): Promise<CellRegistered>
  /** Waits while nothing differs from revision `after`; undefined when nothing changed in that time. */
  desired(query: { after: string; epoch: string; signal: AbortSignal }): Promise<CellDesired | undefined>
  report(report: CellReport): Promise<CellReported>
  deletedDroplets(query: AskDeleted): Promise<DeletedDroplets>
  tellLeftovers(leftovers: TellLeftovers): Promise<void>
  close(): Promise<void>
}

interface Call {
  readonly method: 'GET' | 'POST'
  readonly path: string
  readonly timeoutMs: number
  readonly body?: unknown
  readonly signal?: AbortSignal
}

/** On Node's own client, which is in every process anyway. */
export function createSchedulerClient({ url, identity }: { url: string; identity: IdentitySource }): SchedulerClient {
  let connections: Agent | undefined
  const agent = (): Agent => {
    const { certificatePem: cert, privateKeyPem: key, authorityPem: ca } = typeof identity === 'function' ? identity() : identity
    connections ??= new Agent({ keepAlive: true, maxSockets: 4, cert, key, ca, servername: serverNameOf('scheduler') })
    return connections
  }
  const call = async (what: Call): Promise<unknown> => {
    try {
      const { status, text } = await send(agent(), url, what)
      if (status === 204 || status === 304) return undefined
      if (status >= 300) throw new SchedulerRefusal(status, `The scheduler answered ${status}: ${text.slice(0, 300)}`)
      return JSON.parse(text) as unknown
    } catch (error) {
      // A connection that failed is dialled anew, with the certificate of that moment.
      if (!(error instanceof SchedulerRefusal) && what.signal?.aborted !== true) {
        connections?.destroy()
        connections = undefined
      }
      throw error
    }
  }
  const post = (path: string, body: unknown) => call({ method: 'POST', path, body, timeoutMs: CALL_TIMEOUT_MS })
  return {
    register: async (cell) => CellRegistered.parse(await post('/v1/cells/register', cell)),
    desired: async ({ after, epoch, signal }) => {
      const path = `/v1/cells/desired?${new URLSearchParams({ after, epoch }).toString()}`
      const answer = await call({ method: 'GET', path, timeoutMs: DESIRED_TIMEOUT_MS, signal })
      return answer === undefined ? undefined : CellDesired.parse(answer)
    },
    report: async (report) => CellReported.parse(await post('/v1/cells/report', report)),
    deletedDroplets: async (query) => DeletedDroplets.parse(await post('/v1/cells/droplets/deleted', query)),
    tellLeftovers: async (leftovers) => void (await post('/v1/cells/leftovers', leftovers)),
    close: async () => connections?.destroy(),
  }
}

function send(agent: Agent, url: string, what: Call): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const signals = [AbortSignal.timeout(what.timeoutMs), ...(what.signal === undefined ? [] : [what.signal])]
    const body = what.body === undefined ? undefined : Buffer.from(JSON.stringify(what.body))
    const headers = body === undefined ? {} : { 'content-type': 'application/json', 'content-length': body.length }
    const options = { method: what.method, agent, headers, signal: AbortSignal.any(signals) }
    const sent = request(new URL(what.path, url), options, (response) => {
      const parts: Buffer[] = []
      response.on('data', (part: Buffer) => parts.push(part))
      response.once('error', reject)
      response.once('end', () => resolve({ status: response.statusCode ?? 0, text: Buffer.concat(parts).toString('utf8') }))
    })
    sent.once('error', reject)
    sent.end(body)
  })
}
