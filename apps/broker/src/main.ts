import { ConfigError, runAsProgram } from '@bloomery/config'
import { KeyringError, loadKeyring } from '@bloomery/secrets'
import { createLogger } from '@bloomery/telemetry'
import { type Broker, createBroker } from './broker.js'
import { loadBrokerConfig } from './config.js'

/** Starts the bundled service broker. */
export async function startBroker(env: NodeJS.ProcessEnv): Promise<Broker> {
  const config = loadBrokerConfig(env)
  return createBroker({ config, keyring: loadKeyring(config.keyringFile), log: createLogger('broker') })
}

await runAsProgram(import.meta.url, startBroker, { known: [ConfigError, KeyringError] })
