import type { CfErrorView } from '@bloomery/contracts'

/** What the API refused, with CF's code, title and detail. */
export class ApiError extends Error {
  override readonly name = 'ApiError'
  constructor(
    readonly status: number,
    /** At least one, unless the answer was no CF error. */
    readonly errors: readonly CfErrorView[],
    message = errors.map(({ detail }) => detail).join('\n'),
  ) {
    super(message)
  }
  get code(): number | undefined {
    return this.errors[0]?.code
  }
  get title(): string | undefined {
    return this.errors[0]?.title
  }
  get detail(): string {
    return this.errors[0]?.detail ?? this.message
  }
}

export type ClientErrorKind =
  | 'unreachable'
  | 'not-logged-in'
  | 'credentials-rejected'
  | 'not-found'
  | 'bad-manifest'
  | 'bad-source'
  | 'bad-argument'
  | 'staging-failed'
  | 'start-failed'
  | 'timeout'

/** What failed on this side, or while waiting for the platform; the message says what to do. */
export class ClientError extends Error {
  override readonly name = 'ClientError'
  constructor(
    readonly kind: ClientErrorKind,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options)
  }
}
