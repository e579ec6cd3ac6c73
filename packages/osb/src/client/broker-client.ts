import { randomUUID } from 'node:crypto'
import { z } from 'zod'
import {
  encodeIdentity,
  IDENTITY_HEADER,
  OSB_VERSION,
  PLATFORM,
  REQUEST_IDENTITY_HEADER,
  VERSION_HEADER,
} from '../protocol/headers.js'
import type { BindRequest, ProvisionRequest, UpdateRequest } from '../protocol/requests.js'
import type { BindingAnswer, DeleteAnswer, FetchedBinding, FetchedInstance, InstanceAnswer } from '../protocol/responses.js'
import {
  failedTransport,
  readAnswer,
  readFetchedBinding,
  readFetchedInstance,
  readPoll,
  readQuestion,
  type Answers,
  type BrokerOperation,
  type BrokerResponse,
  type Failure,
  type MutatingOperation,
  type Outcome,
  type PollOutcome,
} from './outcome.js'
import { BrokerTransportError, exchange, type BrokerConnections } from './transport.js'

export interface BrokerAddress {
  /** http or https, perhaps with a path before `/v2`. */
  readonly url: string
  readonly username: string
  readonly password: string
}

export interface BrokerClientOptions {
  readonly connections: BrokerConnections
  /** For one exchange, from connecting to the last byte. @default 60 s */
  readonly timeoutMs?: number
  /** Where the platform's API is, for brokers that ask it: host and port. */
  readonly apiInfoLocation?: string
  /** Told of every exchange, never of bodies. */
  readonly onExchange?: (exchange: BrokerExchange) => void
}
export interface BrokerExchange {
  readonly operation: BrokerOperation
  readonly requestIdentity: string
  /** Or why there was no answer. */
  readonly status: number | string
  readonly durationMs: number
}
/** Whom a request is made for, and how it is called off. */
export interface CallOptions {
  /** The user's guid; left out where no user caused the call. */
  readonly userGuid?: string | undefined
  /** The request of a user that led to this one. */
  readonly requestId?: string
  /** Of a request that is sent again since nobody knows what became of it: the same as before. @default one of its own */
  readonly requestIdentity?: string
  readonly signal?: AbortSignal
}
/** Which offering and plan, by the broker's ids. */
export interface PlanIds {
  readonly serviceId: string
  readonly planId: string
}
type Question<Answer> = { readonly kind: 'done'; readonly answer: Answer } | Failure

const DEFAULT_TIMEOUT_MS = 60_000
const MAX_CATALOG_BYTES = 8 * 1024 * 1024
const MAX_BODY_BYTES = 1024 * 1024
const AnyObject = z.record(z.string(), z.unknown())

const instancePath = (instanceGuid: string): string => `/v2/service_instances/${encodeURIComponent(instanceGuid)}`
const bindingPath = (instanceGuid: string, bindingGuid: string): string =>
  `${instancePath(instanceGuid)}/service_bindings/${encodeURIComponent(bindingGuid)}`

/** One broker, asked by the platform. No method throws for what a broker does; all failures are outcomes. */
export class BrokerClient {
  constructor(
    readonly address: BrokerAddress,
    readonly options: BrokerClientOptions,
  ) {}

  /** The catalog as it came; `validateCatalog` judges it. */
  async catalog(call: CallOptions = {}): Promise<Question<Record<string, unknown>>> {
    const response = await this.#ask('catalog', { method: 'GET', path: '/v2/catalog', maxBytes: MAX_CATALOG_BYTES }, call)
    return 'kind' in response ? response : readQuestion('catalog', response, AnyObject)
  }

  provision(instanceGuid: string, body: ProvisionRequest, call?: CallOptions): Promise<Outcome<InstanceAnswer>> {
    return this.#change('provision', 'PUT', `${instancePath(instanceGuid)}?accepts_incomplete=true`, body, call)
  }

  update(instanceGuid: string, body: UpdateRequest, call?: CallOptions): Promise<Outcome<InstanceAnswer>> {
    return this.#change('update', 'PATCH', `${instancePath(instanceGuid)}?accepts_incomplete=true`, body, call)
  }

  deprovision(instanceGuid: string, plan: PlanIds, call?: CallOptions): Promise<Outcome<DeleteAnswer>> {
    return this.#change('deprovision', 'DELETE', `${instancePath(instanceGuid)}?${deleteQuery(plan)}`, undefined, call)
  }

  bind(instanceGuid: string, bindingGuid: string, body: BindRequest, call?: CallOptions): Promise<Outcome<BindingAnswer>> {
    return this.#change('bind', 'PUT', `${bindingPath(instanceGuid, bindingGuid)}?accepts_incomplete=true`, body, call)
  }

  unbind(instanceGuid: string, bindingGuid: string, plan: PlanIds, call?: CallOptions): Promise<Outcome<DeleteAnswer>> {
    return this.#change('unbind', 'DELETE', `${bindingPath(instanceGuid, bindingGuid)}?${deleteQuery(plan)}`, undefined, call)
  }

  /** How far an asynchronous operation is; of a binding where one is named. `operation` is what the broker gave, exactly. */
  async lastOperation(
    target: { readonly instanceGuid: string; readonly bindingGuid?: string | undefined },
    plan: PlanIds,
    operation: string | undefined,
    call: CallOptions = {},
  ): Promise<PollOutcome> {
    const base =
      target.bindingGuid === undefined ? instancePath(target.instanceGuid) : bindingPath(target.instanceGuid, target.bindingGuid)
    const query = new URLSearchParams({
      service_id: plan.serviceId,
      plan_id: plan.planId,
      ...(operation === undefined ? {} : { operation }),
    })
    const response = await this.#ask('last-operation', { method: 'GET', path: `${base}/last_operation?${query}` }, call)
    return 'kind' in response ? { kind: 'unknown', message: response.message } : readPoll(response)
  }

  async fetchInstance(instanceGuid: string, plan: PlanIds, call: CallOptions = {}): Promise<Question<FetchedInstance>> {
    const path = `${instancePath(instanceGuid)}?${hints(plan)}`
    const response = await this.#ask('fetch-instance', { method: 'GET', path }, call)
    return 'kind' in response ? response : readFetchedInstance(response)
  }

  async fetchBinding(
    instanceGuid: string,
    bindingGuid: string,
    plan: PlanIds,
    call: CallOptions = {},
  ): Promise<Question<FetchedBinding>> {
    const path = `${bindingPath(instanceGuid, bindingGuid)}?${hints(plan)}`
    const response = await this.#ask('fetch-binding', { method: 'GET', path }, call)
    return 'kind' in response ? response : readFetchedBinding(response)
  }

  async #change<Operation extends MutatingOperation>(
    operation: Operation,
    method: 'PUT' | 'PATCH' | 'DELETE',
    path: string,
    body: unknown,
    call: CallOptions = {},
  ): Promise<Outcome<Answers[Operation]>> {
    const response = await this.#ask(operation, { method, path, body }, call)
    return 'kind' in response ? response : readAnswer(operation, response)
  }

  async #ask(
    operation: BrokerOperation,
    request: { method: 'GET' | 'PUT' | 'PATCH' | 'DELETE'; path: string; body?: unknown; maxBytes?: number },
    call: CallOptions,
  ): Promise<BrokerResponse | Failure> {
    const requestIdentity = call.requestIdentity ?? randomUUID()
    const began = performance.now()
    const tell = (status: number | string) =>
      this.options.onExchange?.({ operation, requestIdentity, status, durationMs: performance.now() - began })
    try {
      const response = await exchange(this.options.connections, {
        url: `${this.address.url.replace(/\/+$/, '')}${request.path}`,
        method: request.method,
        headers: this.#headers(requestIdentity, call),
        body: request.body === undefined ? undefined : JSON.stringify(request.body),
        timeoutMs: this.options.timeoutMs ?? DEFAULT_TIMEOUT_MS,
        maxBytes: request.maxBytes ?? MAX_BODY_BYTES,
        signal: call.signal,
      })
      tell(response.status)
      return response
    } catch (error) {
      if (!(error instanceof BrokerTransportError)) throw error
      tell(error.failure.reason)
      return failedTransport(operation, error.failure)
    }
  }

  #headers(requestIdentity: string, { userGuid, requestId }: CallOptions): Record<string, string> {
    const { username, password } = this.address
    return {
      accept: 'application/json',
      authorization: `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`,
      [VERSION_HEADER]: OSB_VERSION,
      [REQUEST_IDENTITY_HEADER]: requestIdentity,
      'x-vcap-request-id': requestId ?? requestIdentity,
      ...(userGuid === undefined
        ? {}
        : { [IDENTITY_HEADER]: encodeIdentity({ platform: PLATFORM, value: { user_id: userGuid } }) }),
      ...(this.options.apiInfoLocation === undefined ? {} : { 'x-api-info-location': this.options.apiInfoLocation }),
    }
  }
}

const hints = ({ serviceId, planId }: PlanIds): string =>
  new URLSearchParams({ service_id: serviceId, plan_id: planId }).toString()
const deleteQuery = (plan: PlanIds): string => `accepts_incomplete=true&${hints(plan)}`
