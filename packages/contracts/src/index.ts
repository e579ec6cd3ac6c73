export { CF_ERRORS, CfError, type CfErrorKind, type CfErrorView } from './errors.js'
export { DropletSource, HealthCheck, InstanceEndpoint, InstanceState, Presence, RunSpec } from './run-spec.js'
export {
  AskDeleted,
  CellDesired,
  CellRegistered,
  CellReport,
  CellReported,
  DeletedDroplets,
  RegisterCell,
  SeenInstance,
  TellLeftovers,
  WantedInstance,
} from './cell-protocol.js'
export { MachineLeftover } from './machine-leftover.js'
export { RouteAck, RouteEndpoint, RouteEntry, RouteFeedMessage, RouteServiceKeys } from './route-feed.js'
export { Envelope, IngestBatch, InstanceMetrics, LogLine } from './envelopes.js'
export {
  InstanceCertificateAnswer,
  InstanceCertificateRequest,
  JoinAnswer,
  JoinRequest,
  type NodeIdentity,
  NodeRole,
  RenewRequest,
  serverNameOf,
} from './node-identity.js'
export { Encrypted } from './encrypted.js'
export { type Nudge } from './nudges.js'
export { SyslogDrain, SyslogDrains } from './syslog-drains.js'
