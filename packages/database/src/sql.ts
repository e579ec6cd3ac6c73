export {
  createPool,
  execute,
  joinSql,
  rows,
  sql,
  transaction,
  type Pool,
  type PoolClient,
  type Queryable,
  type SqlQuery,
} from './pool.js'
export { acquireLease, guardLease, releaseLease, seizeLease, tryAdvisoryLock, type Lease } from './lease.js'
export { areLeftoversAsked, replaceLeftovers } from './machine-leftovers.js'
export { isMigrated, migrate, MigrationError, readMigrations } from './migrate.js'
