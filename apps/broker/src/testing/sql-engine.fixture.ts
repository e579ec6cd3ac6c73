import { randomBytes, randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { createPool, type Pool } from '@bloomery/database/sql'
import { serverUser } from '@bloomery/embedded'
import { Keyring } from '@bloomery/secrets'
import { silentLogger } from '@bloomery/telemetry'
import type { BindingUser, Engine, Instance } from '../engines/engine.js'
import { newPassword, shortName } from '../engines/names.js'
import { ServiceFolders } from '../servers/folders.js'
import { LocalServerHost } from '../servers/local-server-host.js'
import { ProgramRuntime } from '../servers/program-runtime.js'
import type { ServerHost, ServerSpec, Software } from '../servers/server-host.js'
import { inBrokerSchema, prepareSchema } from '../state/schema.js'
import { Vault } from '../state/vault.js'
import { TestHome } from './broker-under-test.fixture.js'

/** An engine on real servers, without a broker around it. */
export interface EngineUnderTest {
  readonly engine: Engine
  instance(): Instance
  user(): BindingUser
  /** Where the servers' user may write. */
  readonly backupFile: string
  /** With limits that differ, for which a server is started anew. */
  restart(spec: ServerSpec): Promise<unknown>
  close(): Promise<void>
}

export async function engineUnderTest(
  databaseUrl: string,
  software: Software,
  make: (servers: ServerHost) => Engine,
): Promise<EngineUnderTest> {
  const home = new TestHome()
  const pool: Pool = createPool(inBrokerSchema(databaseUrl), { max: 4 })
  await prepareSchema(pool)
  const owner = serverUser('bloomery-services')
  const { installationId } = home
  const runtime = new ProgramRuntime({ installationId, runFolder: join(home.home, 'run/services'), logFolder: home.home, owner })
  const folders = new ServiceFolders(home, owner)
  const host = new LocalServerHost({
    pool,
    vault: new Vault(new Keyring('k', new Map([['k', randomBytes(32)]]))),
    software: [software],
    runtimes: [runtime],
    folders,
    network: { address: () => Promise.resolve('127.0.0.1'), open: () => Promise.resolve() },
    memoryMb: 4_000,
    log: silentLogger,
  })
  const engine = make(host)
  return {
    engine,
    backupFile: join(folders.backups('test'), 'backup'),
    instance: () => {
      const [plan] = engine.plans
      if (!plan) throw new Error('an engine without plans')
      return { guid: randomUUID(), plan, parameters: {} }
    },
    user: () => {
      const guid = randomUUID()
      return { guid, username: shortName('u', guid), password: newPassword(), parameters: {} }
    },
    restart: (spec) => host.ensure(spec),
    close: async () => {
      await engine.close?.()
      await home.remove()
      await pool.end()
    },
  }
}
