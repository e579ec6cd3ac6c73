export {
  Catalog,
  CatalogPlan,
  CatalogService,
  DashboardClient,
  MaintenanceInfo,
  OFFERING_REQUIREMENTS,
  PlanSchemas,
  SEMVER,
  type OfferingRequirement,
} from './protocol/catalog.js'
export { BROKER_ERROR_CODES, BrokerErrorBody, type BrokerErrorCode } from './protocol/errors.js'
export {
  decodeIdentity,
  encodeIdentity,
  IDENTITY_HEADER,
  OSB_VERSION,
  PLATFORM,
  REQUEST_IDENTITY_HEADER,
  VERSION_HEADER,
  type OriginatingIdentity,
} from './protocol/headers.js'
export {
  BindRequest,
  BindResource,
  DeleteQuery,
  LastOperationQuery,
  ProvisionRequest,
  RequestContext,
  UpdateRequest,
} from './protocol/requests.js'
export {
  BindingAnswer,
  DeleteAnswer,
  Endpoint,
  FetchedBinding,
  FetchedInstance,
  InstanceAnswer,
  LastOperationAnswer,
  OPERATION_STATES,
  VolumeMount,
  type OperationState,
} from './protocol/responses.js'
export {
  BrokerClient,
  type BrokerAddress,
  type BrokerClientOptions,
  type BrokerExchange,
  type CallOptions,
  type PlanIds,
} from './client/broker-client.js'
export {
  type Answers,
  type BrokerOperation,
  type Failure,
  type FailureReason,
  type MutatingOperation,
  type Outcome,
  type PollOutcome,
} from './client/outcome.js'
export { openBrokerConnections, type BrokerConnections } from './client/transport.js'
export { parameterProblems } from './catalog/parameter-schemas.js'
export { validateCatalog, type CatalogVerdict } from './catalog/validate-catalog.js'
