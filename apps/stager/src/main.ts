import { join } from 'node:path'
import { openBlobstore } from '@bloomery/blobstore'
import { ConfigError, runAsProgram } from '@bloomery/config'
import { createEngine } from '@bloomery/containers'
import { createPool } from '@bloomery/database/sql'
import { createLogSender } from '@bloomery/feeds'
import { ensureNodeIdentity, keepIdentityFresh, nodeIdentityOptions, PkiError } from '@bloomery/pki'
import { consumeStaging, Nudges } from '@bloomery/queues'
import { KeyringError, loadKeyring } from '@bloomery/secrets'
import { createLogger } from '@bloomery/telemetry'
import { BuildpackStore } from './buildpacks/buildpack-store.js'
import { Builds } from './builds/builds.js'
import { MachineCapacity } from './capacity.js'
import { type ClientSettings, readClientSettings } from './client-settings.js'
import { loadStagerConfig } from './config.js'
import { RuntimeSources } from './runtimes/runtime-sources.js'
import { RuntimeStore } from './runtimes/runtime-store.js'
import { holderName, Stager } from './stager.js'
import { AppCaches } from './staging/app-cache.js'
import { SpaceLayers } from './staging/space-layers.js'

/** Starts this machine's stager. */
export async function startStager(env: NodeJS.ProcessEnv): Promise<{ close(): Promise<void> }> {
  const config = loadStagerConfig(env)
  const logger = createLogger('stager')
  const keyring = loadKeyring(config.keyringFile)
  const joining = nodeIdentityOptions('stager', env)
  let identity = await ensureNodeIdentity({
    ...joining,
    onWaiting: (reason) => logger.info({ reason }, 'waiting for a certificate'),
  })
  const renewal = joining.joinUrl
    ? keepIdentityFresh({
        identity,
        dir: joining.dir,
        url: joining.joinUrl,
        onRenewed: (renewed) => (identity = renewed),
        onFailed: (error) => logger.warn({ err: error }, 'the certificate could not be renewed yet'),
      })
    : undefined
  const pool = createPool(config.databaseUrl, { max: 4, applicationName: 'bloomery-stager' })
  const blobstore = await openBlobstore(config.blobstore.url, {
    blobsUrl: config.blobstore.blobsUrl,
    signingKey: () => keyring.derive('blob-addresses'),
  })
  const sender = createLogSender({
    logsUrl: config.logsUrl,
    identity: () => identity,
    sender: `stager:${identity.nodeId}`,
    spoolDir: join(config.folder, 'spool'),
    logger,
  })
  const engine = createEngine({ ...config.engine, logger })
  const nudges = new Nudges(config.redisUrl)
  const runtimesFolder = join(config.folder, 'runtimes')
  const sources = new RuntimeSources({ folder: join(config.folder, 'versions'), architecture: process.arch, ...config.clients })
  let settings: Promise<ClientSettings> | undefined
  const stager = new Stager({
    builds: new Builds(pool, holderName(config.nodeId)),
    engine,
    blobstore,
    keyring,
    buildpacks: new BuildpackStore(join(config.folder, 'buildpacks'), config.buildpacksFolder, blobstore),
    runtimes: new RuntimeStore(runtimesFolder, sources, process.arch, logger),
    caches: new AppCaches(join(config.folder, 'caches'), blobstore),
    spaceLayers: new SpaceLayers(join(config.folder, 'space-layers')),
    clientSettings: () => (settings ??= readClientSettings(config.proxies, logger, config.clients)),
    nodeId: config.nodeId,
    image: config.image,
    lifecycleFolder: config.lifecycleFolder,
    workFolder: join(config.folder, 'builds'),
    cellDroplets: config.cellDroplets,
    stagingTimeoutMs: config.stagingTimeoutMs,
    logger,
    sender,
    nudge: (nudge) => nudges.send(nudge),
    capacity: new MachineCapacity(engine, config.concurrency, config.reserveMb),
  })
  stager.start()
  const unlisten = nudges.listen((nudge) => {
    if (nudge.topic === 'stager') stager.lookAgain()
  })
  // The queue only says when to look: whose turn it is depends on all that wait.
  const consumer = consumeStaging(config.redisUrl, 1, async () => stager.lookAgain())
  return {
    close: async () => {
      unlisten()
      renewal?.close()
      await stager.close()
      await sources.close()
      // Redis may be away; what it holds is in the rows as well.
      await Promise.race([consumer.close(), new Promise((resolve) => setTimeout(resolve, 1_000).unref())])
      await Promise.race([nudges.close(), new Promise((resolve) => setTimeout(resolve, 1_000).unref())])
      await engine.close()
      await sender.close()
      await pool.end()
    },
  }
}

await runAsProgram(import.meta.url, startStager, { known: [ConfigError, PkiError, KeyringError] })
