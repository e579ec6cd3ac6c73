import type { CfErrorView } from '@bloomery/contracts'
import type { Readable } from 'node:stream'
import * as z from 'zod/mini'
import { ApiError, ClientError } from './errors.js'
import type { Http, HttpAnswer, Method } from './http.js'
import { pollUntil, type Waiting } from './polling.js'
import type { Job } from './resources.js'
import { type Endpoints, parseJson, type Session } from './session.js'

const Errors = z.object({ errors: z.array(z.object({ code: z.number(), title: z.string(), detail: z.string() })) })
interface Page<T> {
  readonly pagination?: { readonly next?: { readonly href: string } | null } | null
  readonly resources: readonly T[]
}

export type QueryValues = Readonly<Record<string, string | number | readonly string[] | undefined>>

export interface RequestOptions {
  readonly query?: QueryValues
  readonly json?: unknown
  readonly body?: string | Readable
  readonly headers?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal
}

/** The v3 API as one logged-in user sees it. */
export class CloudClient {
  constructor(
    private readonly http: Http,
    readonly endpoints: Endpoints,
    readonly session: Session,
    /** Told of each warning that the API sends along. */
    private readonly onWarning: (warning: string) => void = () => undefined,
  ) {}

  async get<T>(path: string, options: RequestOptions = {}): Promise<T> {
    return this.json<T>(await this.request('GET', path, options))
  }
  async post<T>(path: string, json?: unknown, options: RequestOptions = {}): Promise<T> {
    return this.json<T>(await this.request('POST', path, { ...options, ...(json === undefined ? {} : { json }) }))
  }
  async patch<T>(path: string, json: unknown): Promise<T> {
    return this.json<T>(await this.request('PATCH', path, { json }))
  }

  /** A list with all its pages, fetched as they are asked for. */
  async *each<T>(path: string, query: QueryValues = {}): AsyncGenerator<T> {
    for (let next: string | undefined = this.address(path, query); next !== undefined;) {
      const page: Page<T> = await this.get<Page<T>>(next)
      yield* page.resources
      next = page.pagination?.next?.href || undefined
    }
  }
  async list<T>(path: string, query: QueryValues = {}): Promise<T[]> {
    const all: T[] = []
    for await (const resource of this.each<T>(path, { per_page: 200, ...query })) all.push(resource)
    return all
  }
  async findOne<T>(path: string, query: QueryValues): Promise<T | undefined> {
    const { resources } = await this.get<Page<T>>(path, { query: { page: 1, per_page: 1, ...query } })
    return resources[0]
  }

  /** Sends what ends in a job, and waits for it. */
  async complete(method: Method, path: string, options: RequestOptions = {}): Promise<void> {
    const answer = await this.request(method, path, options)
    await answer.text()
    const { location } = answer.headers
    if (answer.status === 202 && typeof location === 'string') await this.waitForJob(location)
  }

  async waitForJob(location: string): Promise<Job> {
    const job = await this.poll<Job>(location, ({ state }) => state === 'COMPLETE' || state === 'FAILED')
    for (const { detail } of job.warnings ?? []) this.onWarning(detail)
    if (job.state === 'COMPLETE') return job
    const errors = job.errors?.length
      ? job.errors
      : [{ code: 10001, title: 'UnknownError', detail: `The job ${job.operation} failed without a reason.` }]
    throw new ApiError(422, errors)
  }

  /** Asks for a resource until it is as wanted; the server answers when it changes. */
  async poll<T>(path: string, done: (value: T) => boolean, options: Waiting<T> = {}): Promise<T> {
    return pollUntil(() => this.get<T>(path, { headers: { prefer: 'wait=2' } }), done, options)
  }

  /** Any request with the login's token. Rejects with ApiError from status 400 on. */
  async request(method: Method, path: string, options: RequestOptions = {}): Promise<HttpAnswer> {
    const answer = await this.send(method, path, options)
    this.noteWarnings(answer)
    if (answer.status < 400) return answer
    const text = await answer.text()
    const errors = Errors.safeParse(parseJson(text))
    if (errors.success && errors.data.errors.length > 0)
      throw new ApiError(answer.status, errors.data.errors satisfies CfErrorView[])
    throw new ApiError(answer.status, [], `${method} ${path} was answered with status ${answer.status}: ${text.slice(0, 500)}`)
  }

  /** As `request`, whatever the status. */
  async send(method: Method, path: string, { query, json, body, headers, signal }: RequestOptions = {}): Promise<HttpAnswer> {
    return this.http.send({
      method,
      url: this.address(path, query),
      headers: {
        accept: 'application/json',
        ...(body === undefined ? { 'content-type': 'application/json' } : {}),
        authorization: await this.session.authorization(),
        ...headers,
      },
      ...(json === undefined ? {} : { body: JSON.stringify(json) }),
      ...(body === undefined ? {} : { body }),
      ...(signal ? { signal } : {}),
    })
  }

  async close(): Promise<void> {
    await this.http.close()
  }

  private address(path: string, query: QueryValues = {}): string {
    const url = new URL(/^https?:/.test(path) ? path : `${this.endpoints.api}/${path.replace(/^\/+/, '')}`)
    for (const [name, value] of Object.entries(query)) {
      if (value === undefined) continue
      // Names may hold commas, which separate values: such a comma is escaped once more.
      const text = typeof value === 'object' ? value.map((each) => each.replaceAll(',', '%2C')).join(',') : String(value)
      url.searchParams.set(name, text)
    }
    return url.href
  }

  private async json<T>(answer: HttpAnswer): Promise<T> {
    const text = await answer.text()
    if (text === '') return undefined as T
    const value = parseJson(text)
    if (value === undefined) throw new ClientError('unreachable', 'The answer is no JSON; is this address a Cloud Foundry API?')
    return value as T
  }

  private noteWarnings(answer: HttpAnswer): void {
    const header = answer.headers['x-cf-warnings']
    for (const value of typeof header === 'string' ? [header] : (header ?? [])) {
      for (const warning of value.split(',')) this.onWarning(decoded(warning.replaceAll('+', ' ')).trim())
    }
  }
}

/** What is not escaped as it should be is shown as it came. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
