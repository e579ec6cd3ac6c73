import type { FastifyRequest } from 'fastify'
import type { Keyring } from '@bloomery/secrets'
import type { Database, Pool } from '@bloomery/database'
import type { Nudges, StagingQueue } from '@bloomery/queues'
import type { Blobstore } from '@bloomery/blobstore'
import type { LogSender } from '@bloomery/feeds'
import type { Logger } from '@bloomery/telemetry'
import type { Access, Permission } from './permissions.js'
import type { Principal } from './principal.js'
import type { Changes } from './changes.js'
import type { Jobs } from '../jobs/jobs.js'
import type { ApiSettings } from '../settings.js'
import type { Brokers } from '../service-operations/brokers.js'
import type { ServiceOperations } from '../service-operations/service-operations.js'
import type { LogReader } from '../logs/log-reader.js'
import type { Tails } from '../logs/tails.js'

/** Everything the API's routes are made of; `buildApp(context)` is the whole API as a value, which tests start. */
export interface Context {
  readonly db: Database
  readonly pool: Pool
  readonly keyring: Keyring
  readonly blobstore: Blobstore
  readonly nudges: Nudges
  readonly stagingQueue: StagingQueue
  readonly logSender: LogSender
  readonly logReader: LogReader
  readonly tails: Tails
  readonly changes: Changes
  readonly jobs: Jobs
  readonly brokers: Brokers
  readonly operations: ServiceOperations
  readonly settings: ApiSettings
  readonly log: Logger
  readonly now: () => Date
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Set by the authentication hook for every route that is not public. */
    principal: Principal
    /** Scheme, host and port under which this request reached us, if they are ours; links are built from it. */
    baseUrl: string
    /** What the caller may do; set with the principal. */
    access: Access
  }
  interface FastifyContextConfig {
    permission?: Permission
  }
}

export type ApiRequest = FastifyRequest
