import { CellDesired, CellRegistered, CellReported, type CellReport, type RegisterCell } from '@bloomery/contracts'
import { type Dispatcher, request } from 'undici'
import { dialRole, type IdentitySource } from './mutual-tls.js'

/** The scheduler's longest wait is 20 s. */
const DESIRED_TIMEOUT_MS = 30_000
const CALL_TIMEOUT_MS = 10_000

/** The scheduler answered, but not with what was asked for. 409: a newer agent has taken this cell's place. */
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
  close(): Promise<void>
}

export function createSchedulerClient(options: { url: string; identity: IdentitySource }): SchedulerClient {
  let dispatcher: Dispatcher | undefined
  const call = async (
    method: 'GET' | 'POST',
    path: string,
    extra: { body?: unknown; timeoutMs: number; signal?: AbortSignal },
  ) => {
    dispatcher ??= dialRole('scheduler', options.identity, { connections: 4, headersTimeout: DESIRED_TIMEOUT_MS })
    const signals = [AbortSignal.timeout(extra.timeoutMs), ...(extra.signal === undefined ? [] : [extra.signal])]
    try {
      const answer = await request(new URL(path, options.url), {
        method,
        dispatcher,
        signal: AbortSignal.any(signals),
        ...(extra.body === undefined
          ? {}
          : { body: JSON.stringify(extra.body), headers: { 'content-type': 'application/json' } }),
      })
      const text = await answer.body.text()
      if (answer.statusCode === 204 || answer.statusCode === 304) return undefined
      if (answer.statusCode >= 300)
        throw new SchedulerRefusal(answer.statusCode, `The scheduler answered ${answer.statusCode}: ${text.slice(0, 300)}`)
      return JSON.parse(text) as unknown
    } catch (error) {
      // A connection that failed is dialled anew, with the certificate of that moment.
      if (!(error instanceof SchedulerRefusal) && extra.signal?.aborted !== true) {
        const broken = dispatcher
        dispatcher = undefined
        void broken.destroy()
      }
      throw error
    }
  }
  return {
    register: async (cell) =>
      CellRegistered.parse(await call('POST', '/v1/cells/register', { body: cell, timeoutMs: CALL_TIMEOUT_MS })),
    desired: async ({ after, epoch, signal }) => {
      const query = new URLSearchParams({ after, epoch })
      const answer = await call('GET', `/v1/cells/desired?${query.toString()}`, { timeoutMs: DESIRED_TIMEOUT_MS, signal })
      return answer === undefined ? undefined : CellDesired.parse(answer)
    },
    report: async (report) =>
      CellReported.parse(await call('POST', '/v1/cells/report', { body: report, timeoutMs: CALL_TIMEOUT_MS })),
    close: async () => {
      await dispatcher?.destroy()
    },
  }
}
