export { EmbeddedError } from './errors.js'
export { startPostgres, type PostgresOptions } from './postgres.js'
export { startRedis, type RedisOptions } from './redis.js'
export { openLog, spawnDetached, type EmbeddedServer } from './server-process.js'
export {
  identify,
  isAlive,
  readPidFile,
  removePidFile,
  stopProcess,
  writePidFile,
  type ProcessIdentity,
} from './process-identity.js'
export { ROOT_STORAGE } from './storage.js'
