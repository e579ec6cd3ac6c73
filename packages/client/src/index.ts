export { ApiError, ClientError, type ClientErrorKind } from './errors.js'
export { Http, type HttpAnswer, type HttpRequest, type Method } from './http.js'
export { type Credentials, discover, Endpoints, requestTokens, Session, Tokens } from './session.js'
export { CloudClient, type QueryValues, type RequestOptions } from './cloud-client.js'
export { openClient } from './open-client.js'
export { configPath, readConfig, StoredConfig, writeConfig } from './config-file.js'
export { type Changing, pollUntil, type Waiting } from './polling.js'
export { type LogEntry, newestLogTime, recentLogs, tailLogs, type TailOptions } from './logs.js'
export { formatSize, parseLogRate, parseMegabytes, parseSize } from './sizes.js'
export {
  deploy,
  type DeploymentOptions,
  processesOf,
  setCurrentDroplet,
  stageIfNeeded,
  stagePackage,
  type StageOptions,
  type StartOptions,
  statsOf,
  waitUntilStarted,
} from './start-app.js'
export type {
  App,
  AppEnvironment,
  AuditEvent,
  Build,
  CredentialBinding,
  Deployment,
  Domain,
  Droplet,
  InstanceStats,
  Job,
  LastOperation,
  Organization,
  Package,
  Process,
  Relationship,
  Route,
  RouterGroup,
  ServiceBroker,
  ServiceInstance,
  ServiceOffering,
  ServicePlan,
  Space,
} from './resources.js'
