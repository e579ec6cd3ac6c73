/** The CF error catalogue: what clients read is `code`, `title`, `status`; details are written where the error is thrown. */
export const CF_ERRORS = {
  InvalidAuthToken: { code: 1000, title: 'CF-InvalidAuthToken', status: 401 },
  MessageParseError: { code: 1001, title: 'CF-MessageParseError', status: 400 },
  InvalidRelation: { code: 1002, title: 'CF-InvalidRelation', status: 400 },
  BadRequest: { code: 1004, title: 'CF-BadRequest', status: 400 },
  NotFound: { code: 10000, title: 'CF-NotFound', status: 404 },
  UnknownError: { code: 10001, title: 'UnknownError', status: 500 },
  NotAuthenticated: { code: 10002, title: 'CF-NotAuthenticated', status: 401 },
  NotAuthorized: { code: 10003, title: 'CF-NotAuthorized', status: 403 },
  BadQueryParameter: { code: 10005, title: 'CF-BadQueryParameter', status: 400 },
  UnprocessableEntity: { code: 10008, title: 'CF-UnprocessableEntity', status: 422 },
  ResourceNotFound: { code: 10010, title: 'CF-ResourceNotFound', status: 404 },
  RateLimitExceeded: { code: 10013, title: 'CF-RateLimitExceeded', status: 429 },
  ServiceUnavailable: { code: 10015, title: 'CF-ServiceUnavailable', status: 503 },
  FeatureDisabled: { code: 330002, title: 'CF-FeatureDisabled', status: 403 },
  RouteNotFound: { code: 210002, title: 'CF-RouteNotFound', status: 404 },
  OrgQuotaTotalRoutesExceeded: { code: 310006, title: 'CF-OrgQuotaTotalRoutesExceeded', status: 422 },
  AppPackageInvalid: { code: 150001, title: 'CF-AppPackageInvalid', status: 400 },
  AppBitsUploadInvalid: { code: 160001, title: 'CF-AppBitsUploadInvalid', status: 400 },
  UploadTooLarge: { code: 10008, title: 'CF-UnprocessableEntity', status: 413 },
  StagingError: { code: 170001, title: 'CF-StagingError', status: 400 },
  NoAppDetectedError: { code: 170003, title: 'CF-NoAppDetectedError', status: 400 },
  BuildpackCompileFailed: { code: 170004, title: 'CF-BuildpackCompileFailed', status: 400 },
  BuildpackReleaseFailed: { code: 170005, title: 'CF-BuildpackReleaseFailed', status: 400 },
  InsufficientResources: { code: 170008, title: 'CF-InsufficientResources', status: 400 },
  AsyncServiceInstanceOperationInProgress: { code: 60016, title: 'CF-AsyncServiceInstanceOperationInProgress', status: 409 },
  BuildpackNameStackTaken: { code: 290000, title: 'CF-BuildpackNameStackTaken', status: 422 },
  BuildpackInvalid: { code: 290003, title: 'CF-BuildpackInvalid', status: 422 },
  BuildpackStacksDontMatch: { code: 390011, title: 'CF-BuildpackStacksDontMatch', status: 422 },
  BuildpackStackDoesNotExist: { code: 390012, title: 'CF-BuildpackStackDoesNotExist', status: 422 },
  BuildpackZipError: { code: 390013, title: 'CF-BuildpackZipError', status: 422 },
} as const satisfies Record<string, { code: number; title: string; status: number }>

export type CfErrorKind = keyof typeof CF_ERRORS

/** One error as it stands on the wire. */
export interface CfErrorView {
  code: number
  title: string
  detail: string
}

/** A failure that a caller can understand and act on. Anything else is a bug and is shown as UnknownError. */
export class CfError extends Error {
  override readonly name = 'CfError'
  /** Further details of the same kind, where several faults were found at once. */
  readonly details: readonly string[]
  constructor(
    readonly kind: CfErrorKind,
    detail: string | readonly string[],
    options?: ErrorOptions,
  ) {
    const details = typeof detail === 'string' ? [detail] : detail
    super(details.join('; '), options)
    this.details = details
  }

  get status(): number {
    return CF_ERRORS[this.kind].status
  }

  toViews(): CfErrorView[] {
    const { code, title } = CF_ERRORS[this.kind]
    return this.details.map((detail) => ({ code, title, detail }))
  }
}
