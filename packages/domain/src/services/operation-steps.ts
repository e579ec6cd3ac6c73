import { isEqual } from '../collections/is-equal.js'

/** What a service operation asks of a broker. */
export type ServiceRequest = 'provision' | 'update' | 'deprovision' | 'bind' | 'unbind'

/** As much of an answer as decisions depend on. */
export type RequestOutcome =
  | { readonly kind: 'done' }
  | { readonly kind: 'in progress'; readonly retryAfterSeconds?: number }
  | { readonly kind: 'failed'; readonly reason: string; readonly orphan: boolean }
export type PollResult =
  | { readonly kind: 'state'; readonly state: 'in progress' | 'succeeded' | 'failed' }
  | { readonly kind: 'gone' }
  | { readonly kind: 'unknown' }
export type NextStep = 'complete' | 'poll' | 'fail' | 'fail and mitigate'

const makes = (request: ServiceRequest): boolean => request === 'provision' || request === 'bind'
const removes = (request: ServiceRequest): boolean => request === 'deprovision' || request === 'unbind'

/**
 * After an answer to the request itself. `sentBefore`: an earlier worker died over the same request, so that what the broker holds or
 * does under this guid is ours.
 */
export function afterAnswer(request: ServiceRequest, outcome: RequestOutcome, sentBefore: boolean): NextStep {
  switch (outcome.kind) {
    case 'done':
      return 'complete'
    case 'in progress':
      return 'poll'
    case 'failed':
      if (sentBefore && outcome.reason === 'concurrency') return 'poll'
      if (sentBefore && outcome.reason === 'conflict' && makes(request)) return 'fail and mitigate'
      return outcome.orphan ? 'fail and mitigate' : 'fail'
  }
}

/** After a poll: only a state of the broker's counts, and 410 when deleting. */
export function afterPoll(request: ServiceRequest, result: PollResult): NextStep {
  if (result.kind === 'gone') return removes(request) ? 'complete' : 'poll'
  if (result.kind === 'unknown' || result.state === 'in progress') return 'poll'
  if (result.state === 'succeeded') return 'complete'
  return makes(request) ? 'fail and mitigate' : 'fail'
}

/** When the time of an operation is over: what may have been made is removed, all else stays as it is. */
export const afterDeadline = (request: ServiceRequest): NextStep => (makes(request) ? 'fail and mitigate' : 'fail')
/** Cloud Foundry's words for it. */
export const deadlineMessage = (request: ServiceRequest): string =>
  `Service Broker failed to ${request} within the required time.`

/** An update that was sent, and whose answer was lost. */
export interface LostUpdate {
  /** Ids of the broker's catalog. */
  readonly planBefore: string
  readonly planAfter: string | undefined
  readonly parameters?: Readonly<Record<string, unknown>> | undefined
}
/** What the broker then shows of the instance: `updating` where it says that it is at work on it. */
export type ShownInstance =
  | { readonly kind: 'updating' | 'hidden' }
  | {
      readonly kind: 'shown'
      readonly planId: string | undefined
      readonly parameters: Readonly<Record<string, unknown>> | undefined
    }

/**
 * Whether a lost update went through. Only a plan that has changed proves it: parameters may have been the same before, and of some
 * (a backup to be made) nothing is shown.
 */
export function afterLostUpdate(sent: LostUpdate, shown: ShownInstance): 'complete' | 'poll' | 'ask again' {
  if (shown.kind !== 'shown') return shown.kind === 'updating' ? 'poll' : 'ask again'
  const moved = sent.planAfter !== undefined && sent.planAfter !== sent.planBefore && shown.planId === sent.planAfter
  const seen = Object.entries(sent.parameters ?? {}).every(([name, value]) => isEqual(shown.parameters?.[name], value))
  return moved && seen ? 'complete' : 'ask again'
}
