// The shapes alone, without the client and what it needs: for brokers.
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
} from './catalog.js'
export { BROKER_ERROR_CODES, BrokerErrorBody, type BrokerErrorCode } from './errors.js'
export {
  decodeIdentity,
  encodeIdentity,
  IDENTITY_HEADER,
  OSB_VERSION,
  PLATFORM,
  REQUEST_IDENTITY_HEADER,
  VERSION_HEADER,
  type OriginatingIdentity,
} from './headers.js'
export {
  BindRequest,
  BindResource,
  DeleteQuery,
  LastOperationQuery,
  ProvisionRequest,
  RequestContext,
  UpdateRequest,
} from './requests.js'
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
} from './responses.js'
