import { randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { Server as TlsServer } from 'node:tls'
import { fileURLToPath } from 'node:url'
import { openBlobstore, verifySignature } from '@bloomery/blobstore'
import { ConfigError, runAsProgram } from '@bloomery/config'
import { createDatabase, createPool, migrate, MigrationError, type Pool } from '@bloomery/database'
import { createLogSender } from '@bloomery/feeds'
import { isDueForRenewal, issueNodeIdentity, secureContextOf } from '@bloomery/pki'
import { Nudges, SharedSlots, StagingQueue } from '@bloomery/queues'
import { loadKeyring } from '@bloomery/secrets'
import { createLogger, type Logger } from '@bloomery/telemetry'
import { AcmeCertificates } from './acme/acme-certificates.js'
import { buildApp } from './app.js'
import { loadApiConfig, type ApiConfig } from './config.js'
import { healthRoutes } from './health.js'
import { Changes } from './http/changes.js'
import type { Context } from './http/context.js'
import { Jobs } from './jobs/jobs.js'
import { Reencryption } from './keyring/reencryption.js'
import { keyringRoutes } from './keyring/routes.js'
import { createStoreLogReader } from './logs/store-log-reader.js'
import { Tails } from './logs/tails.js'
import { ensureAuthority } from './nodes/authorities.js'
import { InstanceCertificates } from './nodes/instance-certificates.js'
import { IngressCertificates } from './nodes/ingress-certificates.js'
import { buildInternalApp } from './nodes/internal-app.js'
import { BootstrapTokens, JoinTokens } from './nodes/join-tokens.js'
import { RouteServiceKeys } from './nodes/route-service-keys.js'
import { SyslogDrainList } from './nodes/syslog-drains.js'
import { oauthRoutes } from './oauth/routes.js'
import { SigningKeys } from './oauth/signing-keys.js'
import { Tokens } from './oauth/tokens.js'
import { Brokers } from './service-operations/brokers.js'
import { OrphanMitigator } from './service-operations/orphan-mitigator.js'
import { ServiceOperations } from './service-operations/service-operations.js'
import { retain } from './retention/retain.js'
import { seed } from './seed/seed.js'
import { removeLeftWorkFolders } from './uploads/work-folders.js'

const HOUR_MS = 3_600_000

/** Starts the api role: brings the database up to date, seeds it, and listens for clients and for other roles. */
export async function startApi(env: NodeJS.ProcessEnv): Promise<{ close(): Promise<void> }> {
  const config = loadApiConfig(env)
  const log = createLogger('api')
  const closing: (() => unknown)[] = []
  const close = async (): Promise<void> => {
    for (const step of closing.splice(0).reverse()) await step()
  }
  try {
    await compose(config, log, (step) => closing.push(step))
    return { close }
  } catch (error) {
    await close()
    throw error
  }
}

/** `onClose` takes the steps that undo what was started, to be done in the opposite order. */
async function compose(config: ApiConfig, log: Logger, onClose: (step: () => unknown) => void): Promise<void> {
  const { settings } = config
  const keyring = loadKeyring(config.keyringFile, { create: true })
  const pool = createPool(config.databaseUrl, { max: 6, applicationName: 'bloomery-api' })
  onClose(() => pool.end())
  await migrateWhenReachable(pool, migrationsFolder(config.prismaDir), log)
  const db = createDatabase(config.databaseUrl, { max: 6 })
  onClose(() => db.$disconnect())
  await seed(db, {
    settings,
    adminPassword: config.adminPassword,
    buildpacksDir: config.buildpacksDir ?? fromRepository('buildpacks'),
  })

  await removeLeftWorkFolders(settings)

  const authority = await ensureAuthority(pool, keyring, 'internal')
  let identity = await issueNodeIdentity(authority, { role: 'api', nodeId: config.nodeId })

  const blobstore = await openBlobstore(config.blobstoreUrl, {
    blobsUrl: config.blobsUrl,
    signingKey: () => keyring.derive('blob-addresses'),
  })
  const nudges = new Nudges(config.redisUrl)
  onClose(() => nudges.close())
  const stagingQueue = new StagingQueue(config.redisUrl)
  onClose(() => stagingQueue.close())
  const logSender = createLogSender({
    logsUrl: config.logsUrl,
    identity: () => identity,
    sender: `api:${config.nodeId}`,
    logger: log,
  })
  onClose(() => logSender.close())
  const logReader = createStoreLogReader({ logsUrl: config.logsUrl, identity: () => identity })
  onClose(() => logReader.close())
  const changes = new Changes(nudges, settings.longPollMs)
  const jobs = new Jobs(pool, keyring, nudges, log, () => changes)
  const now = () => new Date()
  const slots = new SharedSlots(config.redisUrl)
  onClose(() => slots.close())
  const brokers = new Brokers({
    db,
    slots,
    keyring,
    timeoutMs: settings.services.brokerTimeoutMs,
    callsPerUser: settings.services.callsPerUser,
    apiInfoLocation: `${settings.publicApiUrl.replace(/^https?:\/\//, '')}/`,
    tenantAddresses: settings.services.tenantAddresses,
    onExchange: (broker, exchange) => log.info({ broker, ...exchange }, 'asked a service broker'),
  })
  onClose(() => brokers.close())
  const { polling, perBroker } = settings.services
  const operations = new ServiceOperations({ db, pool, keyring, jobs, brokers, log, now, polling, perBroker })
  const orphans = new OrphanMitigator({ db, pool, brokers, log, now })
  const context: Context = {
    db,
    pool,
    keyring,
    blobstore,
    nudges,
    stagingQueue,
    logSender,
    logReader,
    tails: new Tails(Date.now),
    changes,
    jobs,
    brokers,
    operations,
    settings,
    log,
    now,
  }

  const keys = new SigningKeys(db, keyring, now)
  await keys.rotate()
  const tokens = new Tokens(pool, keys, `${settings.publicApiUrl.replace('://api.', '://uaa.')}/oauth/token`, now)
  const reencryption = new Reencryption({ pool, keyring, log })
  onClose(() => reencryption.close())
  const app = await buildApp(context, tokens, [
    (routes) => oauthRoutes(routes, context, tokens, keys),
    (routes) => keyringRoutes(routes, keyring, reencryption),
    (routes) => healthRoutes(routes, { pool, logReader, isRedisReady: () => nudges.isReady() }),
  ])
  onClose(() => app.close())
  onClose(() => changes.close())
  onClose(() => jobs.close())
  onClose(() => Promise.all([operations.close(), orphans.close()]))

  const joinTokens = new JoinTokens(pool, authority.certificatePem)
  const bootstrap = config.bootstrapTokensDir && new BootstrapTokens(joinTokens, config.bootstrapTokensDir, log)
  const acme =
    config.acme &&
    new AcmeCertificates({ pool, keyring, options: config.acme, holder: `${config.nodeId}:${randomUUID()}`, now, log })
  const internal = buildInternalApp({
    acmeChallenges: async () => (await acme?.challenges()) ?? [],
    identity,
    authority,
    tokens: joinTokens,
    ingressCertificates: new IngressCertificates(pool, keyring, await ensureAuthority(pool, keyring, 'ingress'), {
      system: settings.systemDomain,
      apps: settings.appsDomain,
    }),
    instanceCertificates: new InstanceCertificates(pool, await ensureAuthority(pool, keyring, 'instances')),
    routeServiceKeys: new RouteServiceKeys(pool, keyring, now),
    syslogDrains: new SyslogDrainList(pool, keyring),
    blobstore,
    isSigned: (key, query) =>
      keyring.keyIds.some((kid) =>
        verifySignature(
          { key, expires: query.get('expires') ?? undefined, signature: query.get('signature') ?? undefined },
          keyring.derive('blob-addresses', kid),
        ),
      ),
    onSpent: () => bootstrap && bootstrap.look(),
    log,
  })
  onClose(() => internal.close())

  await internal.listen(config.internalListen)
  if (bootstrap) {
    await bootstrap.start()
    onClose(() => bootstrap.close())
  }
  await app.listen(config.listen)
  jobs.start()
  operations.start()
  reencryption.start()
  orphans.start()
  const retentionHolder = `${config.nodeId}:${randomUUID()}`
  const upkeep = setInterval(() => {
    void (async () => {
      await keys.rotate()
      await tokens.removeExpired()
      if (isDueForRenewal(identity.certificatePem)) {
        identity = await issueNodeIdentity(authority, { role: 'api', nodeId: config.nodeId })
        if (internal.server instanceof TlsServer) internal.server.setSecureContext(secureContextOf(identity))
      }
      await retain({ pool, blobstore, log, holder: retentionHolder, now })
    })().catch((error: unknown) => log.warn({ err: error }, 'upkeep failed, will try again'))
  }, HOUR_MS)
  onClose(() => clearInterval(upkeep))
  if (acme) onClose(orderCertificates(acme, log))
  log.info({ listen: config.listen, internalListen: config.internalListen }, 'api listens')
}

const ACME_PASS_MS = 60_000

/** Looks for names without a certificate once a minute, never twice at a time. Returns what ends it. */
function orderCertificates(acme: AcmeCertificates, log: Logger): () => void {
  let busy = false
  const timer = setInterval(() => {
    if (busy) return
    busy = true
    acme
      .pass()
      .catch((error: unknown) => log.warn({ err: error }, 'certificates could not be ordered, will try again'))
      .finally(() => (busy = false))
  }, ACME_PASS_MS)
  return () => clearInterval(timer)
}

/** Postgres may come up after us: whatever is no fault of the migrations is tried again. */
async function migrateWhenReachable(pool: Pool, folder: string, log: Logger): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    try {
      const applied = await migrate(pool, folder)
      if (applied.length > 0) log.info({ applied }, 'database migrated')
      return
    } catch (error) {
      if (error instanceof MigrationError) throw error
      if (attempt % 10 === 0) log.warn({ err: error }, 'the database cannot be reached yet, waiting')
      await delay(Math.min(100 + attempt * 100, 2_000))
    }
  }
}

function migrationsFolder(prismaDir: string | undefined): string {
  const folder = join(prismaDir ?? fromRepository('prisma') ?? '', 'migrations')
  if (!existsSync(folder))
    throw new ConfigError('The migrations are not to be found: set BLOOMERY_PRISMA_DIR to the prisma folder.')
  return folder
}

/** A folder of the repository, seen from src/ and from dist/ alike. */
function fromRepository(name: string): string | undefined {
  const path = fileURLToPath(new URL(`../../../${name}`, import.meta.url))
  return existsSync(path) ? path : undefined
}

await runAsProgram(import.meta.url, startApi, { known: [ConfigError, MigrationError] })
