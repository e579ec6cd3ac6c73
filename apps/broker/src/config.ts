import { totalmem } from 'node:os'
import { join, resolve } from 'node:path'
import { DatabaseEnv, EngineEnv, homePaths, KeyringEnv, ListenAddress, parseEnvironment, PlatformEnv } from '@bloomery/config'
import { z } from 'zod'

const MIB = 1024 * 1024

const BrokerEnv = z.object({
  ...PlatformEnv.pick({ BLOOMERY_HOME: true }).shape,
  ...DatabaseEnv.shape,
  ...KeyringEnv.shape,
  ...EngineEnv.pick({ BLOOMERY_ENGINE: true, DOCKER_HOST: true, BLOOMERY_INSTALLATION_ID: true }).shape,
  /** Listener of the bundled service broker (plain HTTP, with a password). */
  BLOOMERY_BROKER_LISTEN: ListenAddress,
  /** User name that the platform gives the bundled broker. */
  BLOOMERY_BROKER_USERNAME: z.string().default('bloomery'),
  /** Password of that user. */
  BLOOMERY_BROKER_PASSWORD: z.string().min(16, 'must have at least 16 characters'),
  /** Address that service servers listen on and apps dial; the gateway of the apps' network by default, with the process engine 127.0.0.1. */
  BLOOMERY_SERVICES_ADDRESS: z.string().optional(),
  /**
   * Where database servers come from: `programs` of this machine, official `images` of a Docker engine, or `auto`: what is here already,
   * else an image that can be pulled.
   */
  BLOOMERY_SERVICES_FROM: z.enum(['auto', 'programs', 'images']).default('auto'),
  /** Image for the offering mysql; one of MySQL itself will do as well. */
  BLOOMERY_SERVICES_MYSQL_IMAGE: z.string().default('mariadb:10.11'),
  /** Image for the offering postgresql. */
  BLOOMERY_SERVICES_POSTGRESQL_IMAGE: z.string().default('postgres:17-bookworm'),
  /** Image for the plans of mongodb that are MongoDB itself. */
  BLOOMERY_SERVICES_MONGODB_IMAGE: z.string().default('mongo:7.0'),
  /** Image for the offering rabbitmq. */
  BLOOMERY_SERVICES_RABBITMQ_IMAGE: z.string().default('rabbitmq:3.13'),
  /** Image for the offering redis. */
  BLOOMERY_SERVICES_REDIS_IMAGE: z.string().default('redis:7.2-bookworm'),
  /** Memory that all service servers may be given together; half of the machine's by default. */
  BLOOMERY_SERVICES_MEMORY_MB: z.coerce.number().int().positive().optional(),
})

export type BrokerConfig = ReturnType<typeof loadBrokerConfig>

export function loadBrokerConfig(source: NodeJS.ProcessEnv) {
  const env = parseEnvironment(BrokerEnv, source)
  const paths = homePaths(resolve(env.BLOOMERY_HOME))
  return {
    databaseUrl: env.DATABASE_URL,
    keyringFile: env.BLOOMERY_KEYRING_FILE,
    installation: { home: paths.home, installationId: env.BLOOMERY_INSTALLATION_ID },
    engine: env.BLOOMERY_ENGINE,
    dockerHost: env.DOCKER_HOST,
    listen: env.BLOOMERY_BROKER_LISTEN,
    account: { username: env.BLOOMERY_BROKER_USERNAME, password: env.BLOOMERY_BROKER_PASSWORD },
    address: env.BLOOMERY_SERVICES_ADDRESS,
    from: env.BLOOMERY_SERVICES_FROM,
    images: {
      mysql: env.BLOOMERY_SERVICES_MYSQL_IMAGE,
      postgresql: env.BLOOMERY_SERVICES_POSTGRESQL_IMAGE,
      mongodb: env.BLOOMERY_SERVICES_MONGODB_IMAGE,
      rabbitmq: env.BLOOMERY_SERVICES_RABBITMQ_IMAGE,
      redis: env.BLOOMERY_SERVICES_REDIS_IMAGE,
    },
    memoryMb: env.BLOOMERY_SERVICES_MEMORY_MB ?? Math.floor(totalmem() / MIB / 2),
    runFolder: join(paths.run, 'services'),
    logFolder: paths.roleLogs,
  }
}
