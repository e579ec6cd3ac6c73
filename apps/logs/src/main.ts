import { mkdir } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { ConfigError, runAsProgram } from '@bloomery/config'
import { ensureNodeIdentity, keepIdentityFresh, nodeIdentityOptions, PkiError, secureContextOf } from '@bloomery/pki'
import { createLogger } from '@bloomery/telemetry'
import { loadLogsConfig } from './config.js'
import { Drains } from './drains/drains.js'
import { followDrains } from './drains/follow-drains.js'
import { createLogStoreServer } from './http/log-store-server.js'
import { LatestMetrics } from './metrics/latest-metrics.js'
import { LogStore } from './segments/log-store.js'

const SNAPSHOT_EVERY_MS = 30_000
const SWEEP_EVERY_MS = 600_000
/** Measured every few seconds while it runs; what is older belongs to an instance that is gone. */
const METRICS_KEPT_MS = 600_000

export interface Logs {
  /** The address it listens at, host:port. */
  readonly address: string
  close(): Promise<void>
}

/** Starts the log store. */
export async function startLogs(env: NodeJS.ProcessEnv): Promise<Logs> {
  const config = loadLogsConfig(env)
  const logger = createLogger('logs')
  const joining = nodeIdentityOptions('logs', env)
  let identity = await ensureNodeIdentity({
    ...joining,
    onWaiting: (reason) => logger.info({ reason }, 'waiting for a certificate'),
  })
  await mkdir(config.appsFolder, { recursive: true, mode: 0o700 })
  const store = new LogStore({ folder: config.appsFolder, bounds: config.bounds, logger })
  const metrics = new LatestMetrics(config.metricsPath, logger)
  await metrics.load()

  const drains = new Drains({ store, policy: config.tenantAddresses, path: config.drainsPath, log: logger })
  await drains.start()

  const server = createLogStoreServer({ identity, store, metrics, onMetrics: (each) => drains.note(each), logger })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(config.listen.port, config.listen.host, resolve)
  })
  const { address, port } = server.address() as AddressInfo
  logger.info({ address, port }, 'log store listens')

  const renewal = joining.joinUrl
    ? keepIdentityFresh({
        identity,
        dir: joining.dir,
        url: joining.joinUrl,
        onRenewed: (renewed) => {
          identity = renewed
          server.setSecureContext(secureContextOf(renewed))
        },
        onFailed: (error) => logger.warn({ err: error }, 'the certificate could not be renewed yet'),
      })
    : undefined
  const following = joining.joinUrl
    ? followDrains({ url: joining.joinUrl, identity: () => identity, apply: (list) => drains.apply(list), log: logger })
    : undefined
  const saveMetrics = async (): Promise<void> => {
    await metrics.save().catch((error: unknown) => logger.warn({ err: error }, 'the snapshot of metrics could not be written'))
  }
  const sweep = async (): Promise<void> => {
    metrics.forgetOlderThan(Date.now() - METRICS_KEPT_MS)
    const forgotten = await store.forgetSilentSince(Date.now() - config.retentionMs)
    if (forgotten > 0) logger.info({ forgotten }, 'logs of silent apps removed')
  }
  const snapshots = setInterval(() => void saveMetrics(), SNAPSHOT_EVERY_MS)
  const sweeps = setInterval(() => {
    sweep().catch((error: unknown) => logger.error({ err: error }, 'sweep of silent apps failed, will be tried again'))
  }, SWEEP_EVERY_MS)

  return {
    address: `${address}:${port}`,
    close: async () => {
      clearInterval(snapshots)
      clearInterval(sweeps)
      renewal?.close()
      following?.close()
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      server.closeIdleConnections()
      // Batches under way are answered; whoever keeps a connection open beyond that is cut off and sends again.
      const cutOff = setTimeout(() => server.closeAllConnections(), 500)
      await closed
      clearTimeout(cutOff)
      await drains.close()
      await store.close()
      await saveMetrics()
    },
  }
}

await runAsProgram(import.meta.url, startLogs, { known: [ConfigError, PkiError] })
