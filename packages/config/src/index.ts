export { homePaths, type HomePaths } from './home.js'
export { ConfigError, Flag, ListenAddress, parseEnvironment } from './parse.js'
export { apiHosts, PlatformEnv, publicDoors, tcpPortRanges } from './platform.js'
export { runAsProgram, type RunningRole } from './program.js'
export {
  ApiListenEnv,
  ApiUpstreamEnv,
  BlobstoreEnv,
  DatabaseEnv,
  EngineEnv,
  KeyringEnv,
  LogsListenEnv,
  LogsUrlEnv,
  NodeEnv,
  RedisEnv,
  SchedulerListenEnv,
  SchedulerUrlEnv,
} from './internal.js'
export { TenantAddressEnv, tenantAddressPolicy } from './tenant-addresses.js'
