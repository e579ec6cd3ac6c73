export { EmbeddedError } from './errors.js'
export { startPostgres, type PostgresOptions } from './postgres.js'
export { startRedis, type RedisOptions } from './redis.js'
export { openLog, spawnDetached, type EmbeddedServer } from './server-process.js'
export { postgresBinaries, type PostgresBinaries } from './postgres-binaries.js'
export {
  findByPidFile,
  identify,
  isAlive,
  readPidFile,
  removePidFile,
  stopProcess,
  writePidFile,
  type ProcessIdentity,
} from './process-identity.js'
export { ROOT_STORAGE, serverFolder, serverUser, type ServerUser } from './storage.js'
