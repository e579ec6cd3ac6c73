import { randomBytes, randomUUID } from 'node:crypto'
import { chmodSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ROOT_STORAGE } from '@bloomery/embedded'
import { Keyring } from '@bloomery/secrets'
import { createLogger } from '@bloomery/telemetry'
import { type Broker, createBroker } from '../broker.js'
import { loadBrokerConfig } from '../config.js'
import type { Engine } from '../engines/engine.js'
import { OsbCaller } from './osb-caller.fixture.js'
import { stopAllServers } from '../servers/stop-servers.js'

export const ACCOUNT = { username: 'platform', password: 'a-password-for-tests-only' }

/** A home of its own, removed with all servers in it at the end. */
export class TestHome {
  readonly home = mkdtempSync(join(tmpdir(), 'bloomery-broker-'))
  readonly installationId = randomUUID()
  readonly keyring = new Keyring('k1', new Map([['k1', randomBytes(32)]]))

  constructor() {
    chmodSync(this.home, 0o711)
  }

  environment(databaseUrl: string): Record<string, string> {
    return {
      BLOOMERY_HOME: this.home,
      BLOOMERY_INSTALLATION_ID: this.installationId,
      BLOOMERY_ENGINE: 'process',
      BLOOMERY_KEYRING_FILE: join(this.home, 'keyring.json'),
      DATABASE_URL: databaseUrl,
      BLOOMERY_BROKER_LISTEN: '127.0.0.1:0',
      BLOOMERY_BROKER_USERNAME: ACCOUNT.username,
      BLOOMERY_BROKER_PASSWORD: ACCOUNT.password,
      BLOOMERY_SERVICES_MEMORY_MB: '4096',
    }
  }

  async start(
    databaseUrl: string,
    {
      environment,
      ...options
    }: {
      readonly engines?: readonly Engine[]
      readonly patienceMs?: number
      readonly gateProgram?: string
      readonly environment?: Readonly<Record<string, string>>
    } = {},
  ): Promise<Broker & { readonly platform: OsbCaller }> {
    const config = loadBrokerConfig({ ...this.environment(databaseUrl), ...environment })
    const broker = await createBroker({
      config,
      keyring: this.keyring,
      log: createLogger('broker', process.env['BLOOMERY_TEST_LOG'] ?? 'silent'),
      ...options,
    })
    return { ...broker, platform: new OsbCaller(broker.address, ACCOUNT) }
  }

  async remove(): Promise<void> {
    await stopAllServers({ runFolder: join(this.home, 'run', 'services') })
    rmSync(this.home, { recursive: true, force: true })
    rmSync(join(ROOT_STORAGE, this.installationId), { recursive: true, force: true })
  }
}
