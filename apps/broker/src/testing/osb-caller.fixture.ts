import { randomUUID } from 'node:crypto'
import { eventually } from '@bloomery/testing'

export interface Answer {
  readonly status: number
  readonly body: Record<string, unknown>
  readonly headers: Headers
}

/** A platform, reduced to its calls. */
export class OsbCaller {
  constructor(
    private readonly address: string,
    private readonly account: { readonly username: string; readonly password: string },
  ) {}

  async call(
    method: string,
    path: string,
    options: { body?: unknown; headers?: Record<string, string | undefined>; raw?: string } = {},
  ): Promise<Answer> {
    const headers = {
      'x-broker-api-version': '2.17',
      authorization: `Basic ${Buffer.from(`${this.account.username}:${this.account.password}`).toString('base64')}`,
      ...(options.body === undefined && options.raw === undefined ? {} : { 'content-type': 'application/json' }),
      ...options.headers,
    }
    const response = await fetch(`http://${this.address}${path}`, {
      method,
      headers: Object.fromEntries(Object.entries(headers).filter((entry): entry is [string, string] => entry[1] !== undefined)),
      ...(options.raw !== undefined
        ? { body: options.raw }
        : options.body !== undefined
          ? { body: JSON.stringify(options.body) }
          : {}),
    })
    const text = await response.text()
    return {
      status: response.status,
      body: (/json/.test(response.headers.get('content-type') ?? '') ? JSON.parse(text) : { text }) as Record<string, unknown>,
      headers: response.headers,
    }
  }

  /** Follows an answer 202 to its end; answers the last state, or `gone`. */
  async follow(path: string, answer: Answer, timeoutMs = 60_000): Promise<Record<string, unknown>> {
    if (answer.status !== 202) return { state: answer.status < 300 ? 'succeeded' : 'refused', ...answer.body }
    const operation = encodeURIComponent(String(answer.body['operation']))
    return eventually(
      async () => {
        const { status, body } = await this.call('GET', `${path}/last_operation?operation=${operation}`)
        if (status === 410) return { state: 'gone' }
        return body['state'] === 'in progress' ? undefined : body
      },
      { timeoutMs, intervalMs: 100, what: `the end of ${path}` },
    )
  }

  /** An instance with its bindings, followed through. */
  instance(serviceId: string, planId: string, guid: string = randomUUID()) {
    const path = `/v2/service_instances/${guid}`
    const place = { organization_guid: 'org', space_guid: 'space' }
    const ids = { service_id: serviceId, plan_id: planId }
    const query = `service_id=${serviceId}&plan_id=${planId}&accepts_incomplete=true`
    const settle = async (at: string, calling: Promise<Answer>) => this.follow(at, await calling)
    return {
      guid,
      path,
      create: (more: object = {}) =>
        settle(path, this.call('PUT', `${path}?accepts_incomplete=true`, { body: { ...ids, ...place, ...more } })),
      update: (more: object) =>
        settle(path, this.call('PATCH', `${path}?accepts_incomplete=true`, { body: { service_id: serviceId, ...more } })),
      remove: () => settle(path, this.call('DELETE', `${path}?${query}`)),
      fetch: () => this.call('GET', path),
      bind: async (binding: string = randomUUID()) => {
        const at = `${path}/service_bindings/${binding}`
        const ended = await settle(
          at,
          this.call('PUT', `${at}?accepts_incomplete=true`, { body: { ...ids, bind_resource: { app_guid: 'app' } } }),
        )
        const { status, body } = await this.call('GET', at)
        if (status !== 200) throw new Error(`not bound: ${JSON.stringify(ended)}`)
        return { guid: binding, credentials: body['credentials'] as Record<string, string & number> }
      },
      unbind: (binding: string) => {
        const at = `${path}/service_bindings/${binding}`
        return settle(at, this.call('DELETE', `${at}?${query}`))
      },
    }
  }
}
