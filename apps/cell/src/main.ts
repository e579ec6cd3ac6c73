import { ConfigError, runAsProgram } from '@bloomery/config'
import { createEngine } from '@bloomery/containers'
import { createLogSender, createSchedulerClient } from '@bloomery/feeds'
import { ensureNodeIdentity, keepIdentityFresh, nodeIdentityOptions, PkiError, requestInstanceCertificate } from '@bloomery/pki'
import type { NodeIdentity } from '@bloomery/contracts'
import { createLogger, type Logger } from '@bloomery/telemetry'
import { join } from 'node:path'
import { Agent } from './agent.js'
import { loadCellConfig, type CellConfig } from './config.js'
import { InstanceCertificates } from './tls/instance-certificates.js'

const VERSION = '0.1.0'

export interface Cell {
  /** Asks for everything on this cell to be placed elsewhere. */
  drain(): void
  /** Ends the agent; the instances run on, and the next agent adopts them. */
  close(): Promise<void>
}

/** Starts the agent of this machine. */
export async function startCell(env: NodeJS.ProcessEnv): Promise<Cell> {
  const config = loadCellConfig(env)
  const log = createLogger('cell')
  const joining = nodeIdentityOptions('cell', env)
  let identity = await ensureNodeIdentity({
    ...joining,
    onWaiting: (reason) => log.info({ reason }, 'waiting for a certificate'),
  })
  const current = () => identity
  const renewal = joining.joinUrl
    ? keepIdentityFresh({
        identity,
        dir: joining.dir,
        url: joining.joinUrl,
        onRenewed: (renewed) => (identity = renewed),
        onFailed: (error) => log.warn({ err: error }, 'the certificate could not be renewed yet'),
      })
    : undefined
  const sender = createLogSender({
    logsUrl: config.logsUrl,
    identity: current,
    sender: `cell:${identity.nodeId}`,
    spoolDir: join(config.folder, 'spool'),
    logger: log,
  })
  const engine = createEngine({ ...config.engine, logger: log })
  const client = createSchedulerClient({ url: config.schedulerUrl, identity: current })
  const certificates = instanceCertificates(config, current, log)
  const agent = new Agent({ config, engine, client, sender, identity: current, certificates, log, version: VERSION })
  agent.start()
  return {
    drain: () => agent.drain(),
    close: async () => {
      renewal?.close()
      await agent.close()
      await engine.close()
      await sender.close()
    },
  }
}

/** The platform's own authority issues them, to cells that have joined. */
function instanceCertificates(
  { tlsPort, node, folder }: CellConfig,
  identity: () => NodeIdentity,
  log: Logger,
): InstanceCertificates | undefined {
  const { joinUrl } = node
  if (joinUrl === undefined && tlsPort === undefined) return undefined
  if (joinUrl === undefined)
    throw new ConfigError(
      'Invalid configuration:\nBLOOMERY_CELL_TLS_PORT takes BLOOMERY_JOIN_URL, where instances get certificates.',
    )
  return new InstanceCertificates({
    folder: join(folder, 'instance-certificates'),
    issue: (instanceGuid, csrPem, address) =>
      requestInstanceCertificate({ url: joinUrl, identity: identity(), instanceGuid, csrPem, address }),
    log,
  })
}

await runAsProgram(import.meta.url, startCell, {
  known: [ConfigError, PkiError],
  started: (cell) => process.on('SIGUSR1', () => cell.drain()),
})
