import type { BrokerErrorBody, BrokerErrorCode } from '@bloomery/osb/protocol'

/** A refusal with the status and body that the specification gives it. */
export class OsbError extends Error {
  override readonly name = 'OsbError'
  constructor(
    readonly status: 400 | 401 | 404 | 409 | 410 | 412 | 422,
    description: string,
    readonly code?: BrokerErrorCode,
    readonly details: Pick<BrokerErrorBody, 'instance_usable' | 'update_repeatable'> = {},
  ) {
    super(description)
  }

  get body(): BrokerErrorBody {
    return { ...(this.code === undefined ? {} : { error: this.code }), description: this.message, ...this.details }
  }
}

export const concurrencyError = (what: string): OsbError =>
  new OsbError(422, `${what} is in progress; try again when it has ended.`, 'ConcurrencyError')
export const asyncRequired = (): OsbError =>
  new OsbError(422, 'This service plan requires client support for asynchronous service operations.', 'AsyncRequired')
/** For deletes: what was asked for has come about. 410's body is an empty object. */
export const gone = (what: string): OsbError => new OsbError(410, `There is no ${what}.`)
