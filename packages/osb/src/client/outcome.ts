import { STATUS_CODES } from 'node:http'
import type { z } from 'zod'
import { BrokerErrorBody } from '../protocol/errors.js'
import {
  BindingAnswer,
  DeleteAnswer,
  FetchedBinding,
  FetchedInstance,
  InstanceAnswer,
  LastOperationAnswer,
  type OperationState,
} from '../protocol/responses.js'

/** What changes something at the broker. */
export type MutatingOperation = 'provision' | 'update' | 'deprovision' | 'bind' | 'unbind'
/** Everything that a broker can be asked. */
export type BrokerOperation = MutatingOperation | 'catalog' | 'fetch-instance' | 'fetch-binding' | 'last-operation'

/** Why a broker did not do what it was asked. */
export type FailureReason =
  | 'rejected'
  | 'unauthorized'
  | 'conflict'
  | 'gone'
  | 'concurrency'
  | 'async-required'
  | 'requires-app'
  | 'maintenance-info-conflict'
  | 'bad-response'
  | 'malformed'
  | 'timeout'
  | 'unreachable'
  | 'too-large'
  | 'redirect'
  | 'forbidden-address'

export interface Failure {
  readonly kind: 'failed'
  readonly reason: FailureReason
  /** Shown to the user: the broker's own words where it gave some. */
  readonly message: string
  /** Whether the broker may now hold something that nobody wants: orphan mitigation must follow. */
  readonly orphan: boolean
  readonly status?: number
  /** Of a failed update or deprovision. @default true */
  readonly instanceUsable?: boolean
  /** Of a failed update. @default true */
  readonly updateRepeatable?: boolean
}
export type Outcome<Answer> =
  | { readonly kind: 'done'; readonly answer: Answer }
  | { readonly kind: 'in progress'; readonly answer: Answer; readonly retryAfterSeconds?: number }
  | Failure

/** What a poll tells. */
export type PollOutcome =
  | {
      readonly kind: 'state'
      readonly state: OperationState
      readonly description: string | undefined
      readonly retryAfterSeconds?: number
      readonly instanceUsable?: boolean
      readonly updateRepeatable?: boolean
    }
  /** The broker knows nothing of it (410): the end of a delete. */
  | { readonly kind: 'gone' }
  /** An answer that does not count: go on polling. */
  | { readonly kind: 'unknown'; readonly message: string; readonly retryAfterSeconds?: number }

/** A request that brought no answer. `sent`: the broker may have seen it. */
export interface TransportFailure {
  readonly reason: 'timeout' | 'unreachable' | 'too-large' | 'redirect' | 'forbidden-address'
  readonly message: string
  readonly sent: boolean
}
export interface BrokerResponse {
  readonly status: number
  readonly body: string
  readonly retryAfterSeconds?: number
}

/** Of each changing operation the shape of its answer. */
export interface Answers {
  provision: InstanceAnswer
  update: InstanceAnswer
  deprovision: DeleteAnswer
  bind: BindingAnswer
  unbind: DeleteAnswer
}
const ANSWERS: { readonly [Operation in MutatingOperation]: z.ZodType<Answers[Operation]> } = {
  provision: InstanceAnswer,
  update: InstanceAnswer,
  deprovision: DeleteAnswer,
  bind: BindingAnswer,
  unbind: DeleteAnswer,
}
const isCreating = (operation: BrokerOperation): boolean => operation === 'provision' || operation === 'bind'
const isDeleting = (operation: BrokerOperation): boolean => operation === 'deprovision' || operation === 'unbind'

/** What each operation takes for success at once, and for work under way; everything else of 2xx is a bad response. */
const SUCCESS: Record<MutatingOperation, readonly number[]> = {
  provision: [200, 201],
  update: [200],
  deprovision: [200],
  bind: [200, 201],
  unbind: [200],
}
const CODED = {
  AsyncRequired: {
    reason: 'async-required',
    message: 'This service plan requires client support for asynchronous service operations.',
    on: ['provision', 'update', 'deprovision', 'bind', 'unbind'],
  },
  ConcurrencyError: {
    reason: 'concurrency',
    message: 'The service broker could not perform this operation in parallel with other running operations',
    on: ['provision', 'update', 'deprovision', 'bind', 'unbind', 'fetch-instance', 'fetch-binding'],
  },
  RequiresApp: {
    reason: 'requires-app',
    message: 'This service supports generation of credentials through binding an application only.',
    on: ['bind'],
  },
  MaintenanceInfoConflict: {
    reason: 'maintenance-info-conflict',
    message:
      'The service broker did not provide a reason for this conflict, please ensure the catalog is up to date and you are providing a version supported by this service plan',
    on: ['provision', 'update'],
  },
} as const satisfies Record<string, { reason: FailureReason; message: string; on: readonly BrokerOperation[] }>

/**
 * Reads the answer to a changing request: the specification's table of statuses (`2.17`, "Orphan Mitigation" included) as one pure
 * function. What a broker says never throws.
 */
export function readAnswer<Operation extends MutatingOperation>(
  operation: Operation,
  response: BrokerResponse,
): Outcome<Answers[Operation]> {
  const { status } = response
  if (SUCCESS[operation].includes(status) || status === 202) {
    const answer = parse(ANSWERS[operation], response.body)
    // A malformed 201 or 202 may have made something; a malformed 200 is about what was there before.
    if (!answer.ok) return malformed(status, answer.problem, isCreating(operation) && status !== 200)
    if (status !== 202) return { kind: 'done', answer: answer.value }
    return { kind: 'in progress', answer: answer.value, ...retryAfter(response) }
  }
  if (status === 410 && isDeleting(operation)) return { kind: 'done', answer: {} }
  return readFailure(operation, response)
}

/** Reads the answer to a question: the catalog, or what the broker holds of an instance or binding. */
export function readQuestion<Answer>(
  operation: 'catalog' | 'fetch-instance' | 'fetch-binding',
  response: BrokerResponse,
  schema: z.ZodType<Answer>,
): { readonly kind: 'done'; readonly answer: Answer } | Failure {
  if (response.status !== 200) return readFailure(operation, response)
  const answer = parse(schema, response.body)
  return answer.ok ? { kind: 'done', answer: answer.value } : malformed(200, answer.problem, false)
}
export const readFetchedInstance = (response: BrokerResponse) => readQuestion('fetch-instance', response, FetchedInstance)
export const readFetchedBinding = (response: BrokerResponse) => readQuestion('fetch-binding', response, FetchedBinding)

/** Reads the answer to a poll: only a state counts; 400 is a failed state as Cloud Foundry has it. */
export function readPoll(response: BrokerResponse): PollOutcome {
  if (response.status === 410) return { kind: 'gone' }
  if (response.status === 400) {
    const error = parseError(response.body)
    return { kind: 'state', state: 'failed', description: error.description ?? 'Bad request', ...aftermath(error) }
  }
  const unknown = (message: string): PollOutcome => ({ kind: 'unknown', message, ...retryAfter(response) })
  if (response.status !== 200) return unknown(`status ${response.status}`)
  const answer = parse(LastOperationAnswer, response.body)
  if (!answer.ok) return unknown(answer.problem)
  const { state, description } = answer.value
  return {
    kind: 'state',
    state,
    description: description ?? undefined,
    ...retryAfter(response),
    ...aftermath(answer.value),
  }
}

/** A request without an answer, as an outcome: what was sent and may have been done needs mitigation. */
export const failedTransport = (operation: BrokerOperation, failure: TransportFailure): Failure => ({
  kind: 'failed',
  reason: failure.reason,
  message: failure.message,
  orphan: failure.sent && isCreating(operation),
})

function readFailure(operation: BrokerOperation, response: BrokerResponse): Failure {
  const { status } = response
  const error = parseError(response.body)
  const said = error.description === undefined ? undefined : `Service broker error: ${error.description}`
  const failed = (reason: FailureReason, message: string, orphan = false): Failure => ({
    kind: 'failed',
    reason,
    message: shorten(message),
    orphan,
    status,
    ...aftermath(error),
  })
  if (status === 401)
    return failed(
      'unauthorized',
      'Authentication with the service broker failed. Double-check that the username and password are correct.',
    )
  if (status === 408) return failed('timeout', 'The request to the service broker timed out')
  if (status === 409 && isCreating(operation)) return failed('conflict', said ?? 'Resource conflict')
  if (status === 422 && error.error !== undefined && Object.hasOwn(CODED, error.error)) {
    const coded = CODED[error.error as keyof typeof CODED]
    if ((coded.on as readonly BrokerOperation[]).includes(operation))
      return failed(coded.reason, coded.reason === 'maintenance-info-conflict' ? (said ?? coded.message) : coded.message)
  }
  // The broker promises that nothing has changed.
  if (status === 410) return failed('gone', said ?? invalidResponse(response), isCreating(operation))
  if (status >= 400 && status < 500)
    return failed(
      'rejected',
      said ?? `The service broker rejected the request. Status Code: ${statusText(status)}, Body: ${response.body}`,
    )
  if (status >= 300 && status < 400) return failed('redirect', invalidResponse(response))
  return failed('bad-response', said ?? invalidResponse(response), isCreating(operation))
}

/** As the reference writes it: `404 Not Found`. */
const statusText = (status: number): string => `${status} ${STATUS_CODES[status] ?? ''}`.trim()
const invalidResponse = ({ status, body }: BrokerResponse): string =>
  `The service broker returned an invalid response. Status Code: ${statusText(status)}, Body: ${body}`

/** What is left after a failure, where the broker says. */
const aftermath = (said: {
  readonly instance_usable?: boolean | null | undefined
  readonly update_repeatable?: boolean | null | undefined
}) => ({
  ...(said.instance_usable == null ? {} : { instanceUsable: said.instance_usable }),
  ...(said.update_repeatable == null ? {} : { updateRepeatable: said.update_repeatable }),
})

const malformed = (status: number, problem: string, orphan: boolean): Failure => ({
  kind: 'failed',
  reason: 'malformed',
  message: shorten(`The service broker returned an invalid response: ${problem}`),
  orphan,
  status,
})

type Parsed<Value> = { readonly ok: true; readonly value: Value } | { readonly ok: false; readonly problem: string }

function parse<Value>(schema: z.ZodType<Value>, body: string): Parsed<Value> {
  let json: unknown
  try {
    json = JSON.parse(body)
  } catch {
    return { ok: false, problem: `expected valid JSON object in body, broker returned '${body}'` }
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json))
    return { ok: false, problem: `expected valid JSON object in body, broker returned '${body}'` }
  const parsed = schema.safeParse(json)
  return parsed.success
    ? { ok: true, value: parsed.data }
    : { ok: false, problem: parsed.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('; ') }
}

function parseError(body: string): BrokerErrorBody {
  try {
    const parsed = BrokerErrorBody.safeParse(JSON.parse(body))
    return parsed.success ? parsed.data : {}
  } catch {
    return {}
  }
}

const retryAfter = ({ retryAfterSeconds }: BrokerResponse): { retryAfterSeconds?: number } =>
  retryAfterSeconds === undefined ? {} : { retryAfterSeconds }

const MAX_MESSAGE_BYTES = 16 * 1024
const SHORT_MESSAGE_BYTES = 8 * 1024
function shorten(message: string): string {
  const bytes = Buffer.from(message)
  if (bytes.length <= MAX_MESSAGE_BYTES) return message
  return `${bytes.subarray(0, SHORT_MESSAGE_BYTES).toString('utf8')}...This message has been truncated due to size. To read the full message, check the broker's logs`
}
