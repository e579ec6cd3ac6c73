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
  ServiceInstanceAlreadyBoundToSameRoute: { code: 130008, title: 'CF-ServiceInstanceAlreadyBoundToSameRoute', status: 422 },
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
  UnableToPerform: { code: 10009, title: 'CF-UnableToPerform', status: 400 },
  ServiceBrokerRateLimitExceeded: { code: 10016, title: 'CF-ServiceBrokerRateLimitExceeded', status: 429 },
  SpaceDeletionFailed: { code: 40009, title: 'CF-SpaceDeletionFailed', status: 502 },
  ServiceInstanceNotFound: { code: 60004, title: 'CF-ServiceInstanceNotFound', status: 404 },
  ServiceInstanceRecursiveDeleteFailed: { code: 60027, title: 'CF-ServiceInstanceRecursiveDeleteFailed', status: 502 },
  ServiceInstanceWithInaccessiblePlanNotUpdateable: {
    code: 60029,
    title: 'CF-ServiceInstanceWithInaccessiblePlanNotUpdateable',
    status: 422,
  },
  ServiceFetchBindingParametersNotSupported: {
    code: 90007,
    title: 'CF-ServiceFetchBindingParametersNotSupported',
    status: 400,
  },
  AsyncServiceBindingOperationInProgress: {
    code: 90008,
    title: 'CF-AsyncServiceBindingOperationInProgress',
    status: 409,
  },
  ServicePlanInvalid: { code: 110001, title: 'CF-ServicePlanInvalid', status: 422 },
  ServicePlanNotUpdateable: { code: 110004, title: 'CF-ServicePlanNotUpdateable', status: 422 },
  ServiceFetchInstanceParametersNotSupported: {
    code: 120004,
    title: 'CF-ServiceFetchInstanceParametersNotSupported',
    status: 400,
  },
  ServiceBrokerNotRemovable: { code: 270010, title: 'CF-ServiceBrokerNotRemovable', status: 422 },
  ServiceBrokerGone: { code: 270011, title: 'CF-ServiceBrokerGone', status: 422 },
  ServiceBrokerCatalogInvalid: { code: 270012, title: 'CF-ServiceBrokerCatalogInvalid', status: 502 },
  ServiceBrokerDashboardClientFailure: { code: 270013, title: 'CF-ServiceBrokerDashboardClientFailure', status: 502 },
  ServiceBrokerAsyncRequired: { code: 270014, title: 'CF-ServiceBrokerAsyncRequired', status: 400 },
  ServiceBrokerConcurrencyError: { code: 270018, title: 'CF-ServiceBrokerConcurrencyError', status: 422 },
  ServiceBrokerRequestRejected: { code: 270020, title: 'CF-ServiceBrokerRequestRejected', status: 502 },
  ServiceBrokerRequestMalformed: { code: 270021, title: 'CF-ServiceBrokerRequestMalformed', status: 502 },
  ServiceBrokerSyncFailed: { code: 270022, title: 'CF-ServiceBrokerSyncFailed', status: 502 },
  ServiceBrokerBadResponse: { code: 10001, title: 'CF-ServiceBrokerBadResponse', status: 502 },
  ServiceBrokerApiAuthenticationFailed: { code: 10001, title: 'CF-ServiceBrokerApiAuthenticationFailed', status: 502 },
  ServiceBrokerApiUnreachable: { code: 10001, title: 'CF-ServiceBrokerApiUnreachable', status: 502 },
  ServiceBrokerApiTimeout: { code: 10001, title: 'CF-ServiceBrokerApiTimeout', status: 504 },
  ServiceInstanceUnshareFailed: { code: 390001, title: 'CF-ServiceInstanceUnshareFailed', status: 502 },
  SharedServiceInstanceCannotBeRenamed: { code: 390003, title: 'CF-SharedServiceInstanceCannotBeRenamed', status: 422 },
  MaintenanceInfoNotSupported: { code: 390006, title: 'CF-MaintenanceInfoNotSupported', status: 422 },
  MaintenanceInfoNotUpdatableWhenChangingPlan: {
    code: 390008,
    title: 'CF-MaintenanceInfoNotUpdatableWhenChangingPlan',
    status: 422,
  },
  MaintenanceInfoConflict: { code: 390009, title: 'CF-MaintenanceInfoConflict', status: 422 },
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
