import { openBlobstore } from '@bloomery/blobstore'
import {
  BlobstoreEnv,
  ConfigError,
  runAsProgram,
  DatabaseEnv,
  homePaths,
  KeyringEnv,
  LogsUrlEnv,
  NodeEnv,
  parseEnvironment,
  PlatformEnv,
  RedisEnv,
  SchedulerListenEnv,
} from '@bloomery/config'
import { createPool } from '@bloomery/database/sql'
import { createLogSender } from '@bloomery/feeds'
import { ensureNodeIdentity, keepIdentityFresh, nodeIdentityOptions, PkiError } from '@bloomery/pki'
import { Nudges } from '@bloomery/queues'
import { KeyringError, loadKeyring } from '@bloomery/secrets'
import { createLogger } from '@bloomery/telemetry'
import { join } from 'node:path'
import { z } from 'zod'
import { createScheduler } from './scheduler.js'

const SchedulerEnv = z.object({
  ...PlatformEnv.pick({ BLOOMERY_HOME: true }).shape,
  ...DatabaseEnv.shape,
  ...RedisEnv.shape,
  ...BlobstoreEnv.shape,
  ...KeyringEnv.shape,
  ...NodeEnv.shape,
  ...LogsUrlEnv.shape,
  ...SchedulerListenEnv.shape,
  /** Instances that may start at once on all cells; 0 is no limit. */
  BLOOMERY_MAX_STARTING: z.coerce.number().int().min(0).default(0),
})

/** Addresses of droplets are made anew with every answer; a cell fetches within minutes. */
const DROPLET_URL_SECONDS = 60 * 60

/** Starts the scheduler role. */
export async function startScheduler(env: NodeJS.ProcessEnv): Promise<{ close(): Promise<void> }> {
  const config = parseEnvironment(SchedulerEnv, env)
  const log = createLogger('scheduler')
  let identity = await ensureNodeIdentity({
    ...nodeIdentityOptions('scheduler', env),
    onWaiting: (reason) => log.info({ reason }, 'waiting for a certificate'),
  })
  // After joining: on a new installation the api, which hands out certificates, makes the keyring first.
  const keyring = loadKeyring(config.BLOOMERY_KEYRING_FILE)
  const blobs = await openBlobstore(config.BLOBSTORE_URL, {
    blobsUrl: config.BLOOMERY_BLOBS_URL,
    signingKey: () => keyring.derive('blob-addresses'),
  })
  const pool = createPool(config.DATABASE_URL, { max: 8, applicationName: 'bloomery-scheduler' })
  const nudges = new Nudges(config.REDIS_URL)
  const logs = createLogSender({
    logsUrl: config.BLOOMERY_LOGS_URL,
    identity: () => identity,
    sender: `scheduler:${identity.nodeId}`,
    spoolDir: join(homePaths(config.BLOOMERY_HOME).home, 'scheduler', 'log-spool'),
    logger: log,
  })
  const scheduler = await createScheduler({
    pool,
    identity,
    listen: config.BLOOMERY_SCHEDULER_LISTEN,
    keyring,
    signedUrl: (blobKey) => blobs.signedUrl(blobKey, DROPLET_URL_SECONDS),
    logs,
    nudge: (nudge) => nudges.send(nudge),
    log,
    maxStarting: config.BLOOMERY_MAX_STARTING,
  })
  const ignore = nudges.listen(({ topic }) => {
    if (topic === 'scheduler') scheduler.nudge()
  })
  const renewal = config.BLOOMERY_JOIN_URL
    ? keepIdentityFresh({
        identity,
        dir: config.BLOOMERY_NODE_DIR,
        url: config.BLOOMERY_JOIN_URL,
        onRenewed: (renewed) => {
          identity = renewed
          scheduler.useIdentity(renewed)
        },
        onFailed: (error) => log.warn({ err: error }, 'could not renew the certificate, will try again'),
      })
    : undefined
  log.info({ port: scheduler.port }, 'scheduler listens')
  return {
    close: async () => {
      renewal?.close()
      ignore()
      await scheduler.close()
      await logs.flush(2_000)
      await logs.close()
      await nudges.close()
      await pool.end()
    },
  }
}

await runAsProgram(import.meta.url, startScheduler, { known: [ConfigError, KeyringError, PkiError] })
