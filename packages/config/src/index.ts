export { homePaths, type HomePaths } from './home.js'
export { ConfigError, Flag, ListenAddress, parseEnvironment } from './parse.js'
export { apiHosts, PlatformEnv } from './platform.js'
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
