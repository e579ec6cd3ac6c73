import { mkdirSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { createPool } from '@bloomery/database/sql'
import { serverUser } from '@bloomery/embedded'
import type { Keyring } from '@bloomery/secrets'
import type { Logger } from '@bloomery/telemetry'
import { Backups } from './backups/backups.js'
import { keepSchedule } from './backups/schedule.js'
import type { BrokerConfig } from './config.js'
import type { Engine } from './engines/engine.js'
import { bundledEngines, bundledSoftware } from './engines/bundled.js'
import { keepLimits } from './engines/limits.js'
import { partsFolder } from './engines/mongodb/parts-folder.js'
import { EngineChoice } from './engines/engine-choice.js'
import { buildApp } from './http/app.js'
import { presentMetrics } from './metrics/metrics.js'
import { Intake } from './operations/intake.js'
import { leadWhile } from './operations/leadership.js'
import { OperationLog } from './operations/operation-log.js'
import { ServicePerformer } from './operations/perform.js'
import { OperationRunner } from './operations/runner.js'
import { ServiceFolders } from './servers/folders.js'
import { LocalServerHost } from './servers/local-server-host.js'
import { fixedAddress, gatewayOfContainers } from './servers/network.js'
import { keepRest } from './servers/rest.js'
import { ContainerRuntime } from './servers/container-runtime.js'
import { ProgramRuntime } from './servers/program-runtime.js'
import { findProgram } from './servers/programs.js'
import type { Runtime } from './servers/runtime.js'
import { keepResealed } from './state/reseal.js'
import { inBrokerSchema, prepareSchema } from './state/schema.js'
import { Vault } from './state/vault.js'

/** Answers within this are given at once; what takes longer is told of by last_operation. */
const PATIENCE_MS = 2_000
const SERVERS_USER = 'bloomery-services'
/** The part of MongoDB's development server that is ours, to be compiled where it runs. */
const MONGODB_SOURCES = fileURLToPath(new URL('../../../packages/mongo-gate/server', import.meta.url))

export interface Broker {
  /** Where it listens, host:port. */
  readonly address: string
  close(): Promise<void>
}

/** The broker as a value: everything it needs is given to it. `engines` stands in for the bundled ones in tests. */
export async function createBroker(options: {
  readonly config: BrokerConfig
  readonly keyring: Keyring
  readonly log: Logger
  readonly engines?: readonly Engine[]
  readonly patienceMs?: number
  readonly gateProgram?: string
}): Promise<Broker> {
  const { config, log } = options
  for (const folder of [config.runFolder, config.logFolder]) mkdirSync(folder, { recursive: true, mode: 0o700 })
  const pool = createPool(inBrokerSchema(config.databaseUrl), { max: 8, applicationName: 'bloomery-broker' })
  await prepareSchema(pool).catch(async (error: unknown) => {
    await pool.end()
    throw error
  })
  const vault = new Vault(options.keyring)
  const owner = serverUser(SERVERS_USER)
  const folders = new ServiceFolders(config.installation, owner)
  const { home } = config.installation
  const parts = { sources: MONGODB_SOURCES, target: partsFolder(home), find: findProgram }
  const gateProgram = options.gateProgram ?? fileURLToPath(new URL('./mongo-gate.entry.js', import.meta.url))
  const bundled = { owner, home, images: config.images, mongodb: { parts, gateProgram, node: process.execPath } }
  const host = new LocalServerHost({
    pool,
    vault,
    software: bundledSoftware(bundled),
    runtimes: runtimesOf(config, folders),
    folders,
    network: networkOf(config),
    memoryMb: config.memoryMb,
    log,
  })
  const choice = new EngineChoice(options.engines ?? bundledEngines(host, bundled), log)
  await choice.look()
  const engines = choice.all
  const backups = new Backups(pool, (name) => Promise.resolve(folders.backups(name)))
  const operations = new OperationLog(pool)
  const intake = new Intake(pool, engines, vault)
  const runner = new OperationRunner(pool, new ServicePerformer(pool, engines, vault, backups, log), operations, log)
  const stopping = new AbortController()
  const leading = leadWhile(pool, stopping.signal, log, async (lease, signal) => {
    await Promise.all([
      runner.lead(lease, signal),
      host.keepRunning(signal),
      keepSchedule({ pool, intake, nudge: () => runner.nudge(), log }, signal),
      keepLimits({ pool, engines, log }, signal),
      keepRest({ pool, engines, host, log }, signal),
      keepResealed({ pool, vault, log }, signal),
      choice.keepLooking(signal),
    ])
  })
  const app = buildApp({
    pool,
    engines,
    available: () => choice.available,
    account: config.account,
    intake,
    operations,
    vault,
    nudge: () => runner.nudge(),
    patienceMs: options.patienceMs ?? PATIENCE_MS,
    metrics: () => presentMetrics(pool, engines, log),
    log,
  })
  await app.listen(config.listen)
  const { address, port } = app.server.address() as AddressInfo
  log.info({ address, port, offerings: choice.available.map(({ offering }) => offering.name) }, 'service broker listens')
  return {
    address: `${address}:${port}`,
    close: async () => {
      await app.close()
      stopping.abort()
      await leading
      await Promise.allSettled(engines.map((engine) => engine.close?.()))
      await pool.end()
    },
  }
}

/** Programs of the machine, and images where there is an engine for them. */
function runtimesOf(config: BrokerConfig, folders: ServiceFolders): Runtime[] {
  const { owner } = folders
  const { installationId } = config.installation
  const programs = new ProgramRuntime({ installationId, runFolder: config.runFolder, logFolder: config.logFolder, owner })
  const containers = new ContainerRuntime({ installationId, dockerHost: config.dockerHost, folders, owner })
  if (config.from === 'programs' || config.engine === 'process') return [programs]
  return config.from === 'images' ? [containers] : [containers, programs]
}

function networkOf({ address, engine, installation, dockerHost }: BrokerConfig) {
  if (address !== undefined) return fixedAddress(address)
  return engine === 'process' ? fixedAddress('127.0.0.1') : gatewayOfContainers(installation.installationId, dockerHost)
}
