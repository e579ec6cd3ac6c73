import { existsSync } from 'node:fs'
import { availableParallelism, homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import {
  BlobstoreEnv,
  DatabaseEnv,
  EngineEnv,
  Flag,
  homePaths,
  KeyringEnv,
  LogsUrlEnv,
  NodeEnv,
  parseEnvironment,
  PlatformEnv,
  publicDoors,
  RedisEnv,
} from '@bloomery/config'
import { z } from 'zod'

const StagerEnv = z.object({
  ...PlatformEnv.shape,
  ...DatabaseEnv.shape,
  ...RedisEnv.shape,
  ...BlobstoreEnv.shape,
  ...KeyringEnv.shape,
  ...NodeEnv.shape,
  ...LogsUrlEnv.shape,
  ...EngineEnv.shape,
  BLOOMERY_BUILDPACKS_DIR: z.string().optional().describe("Folder of the system buildpacks; the product's own by default"),
  BLOOMERY_CELL_DROPLETS: z
    .string()
    .optional()
    .describe('Droplet cache of the cell on this machine; by default the one below BLOOMERY_HOME, where there is one'),
  BLOOMERY_STAGER_CONCURRENCY: z.coerce
    .number()
    .int()
    .nonnegative()
    .default(0)
    .describe('Builds at the same time, memory permitting; 0: as many as the machine has processors'),
  BLOOMERY_STAGING_RESERVE_MB: z.coerce
    .number()
    .int()
    .nonnegative()
    .default(512)
    .describe('Free memory that staging leaves to running apps and the platform'),
  BLOOMERY_STAGING_TIMEOUT_SECONDS: z.coerce
    .number()
    .int()
    .positive()
    .default(900)
    .describe('A build that takes longer is ended'),
  BLOOMERY_TRUST_HOST_CERTIFICATES: Flag.default(true).describe('Whether staging trusts the authorities that the machine trusts'),
  BLOOMERY_PROCESS_UNCONFINED: Flag.default(false).describe('Lets the process engine stage apps without any confinement'),
  /** Handed on to builds. */
  HTTP_PROXY: z.string().optional(),
  /** Handed on to builds. */
  HTTPS_PROXY: z.string().optional(),
  /** Handed on to builds. */
  NO_PROXY: z.string().optional(),
  /** Where Go modules come from, on machines without Go. */
  GOPROXY: z.string().optional(),
  /** Which checksum database Go modules are checked against, on machines without Go. */
  GOSUMDB: z.string().optional(),
})

/** Everything the stager was told, once. */
export type StagerConfig = ReturnType<typeof loadStagerConfig>

// From src/ and from dist/ alike.
const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url))

export function loadStagerConfig(source: NodeJS.ProcessEnv) {
  const env = parseEnvironment(StagerEnv, source)
  const home = resolve(env.BLOOMERY_HOME)
  const paths = homePaths(home)
  const folder = paths.stager
  const cellDroplets = resolve(env.BLOOMERY_CELL_DROPLETS ?? join(paths.cell, 'droplets'))
  return {
    nodeId: env.BLOOMERY_NODE_ID,
    folder,
    databaseUrl: env.DATABASE_URL,
    redisUrl: env.REDIS_URL,
    blobstore: { url: env.BLOBSTORE_URL, blobsUrl: env.BLOOMERY_BLOBS_URL },
    keyringFile: env.BLOOMERY_KEYRING_FILE,
    logsUrl: env.BLOOMERY_LOGS_URL,
    concurrency: env.BLOOMERY_STAGER_CONCURRENCY || availableParallelism(),
    reserveMb: env.BLOOMERY_STAGING_RESERVE_MB,
    stagingTimeoutMs: env.BLOOMERY_STAGING_TIMEOUT_SECONDS * 1000,
    lifecycleFolder: here('../lifecycle'),
    buildpacksFolder: env.BLOOMERY_BUILDPACKS_DIR ? resolve(env.BLOOMERY_BUILDPACKS_DIR) : here('../../../buildpacks'),
    /** Asked at each hand-over: the cell may come later than the stager. */
    cellDroplets: () => (env.BLOOMERY_CELL_DROPLETS !== undefined || existsSync(paths.cell) ? cellDroplets : undefined),
    proxies: { http_proxy: env.HTTP_PROXY, https_proxy: env.HTTPS_PROXY, no_proxy: env.NO_PROXY },
    clients: {
      proxies: { http: env.HTTP_PROXY, https: env.HTTPS_PROXY, no: env.NO_PROXY },
      go: { GOPROXY: env.GOPROXY, GOSUMDB: env.GOSUMDB },
      home: homedir(),
    },
    node: { dir: env.BLOOMERY_NODE_DIR, joinUrl: env.BLOOMERY_JOIN_URL },
    image: env.BLOOMERY_STACK_IMAGE,
    engine: {
      kind: env.BLOOMERY_ENGINE,
      installationId: env.BLOOMERY_INSTALLATION_ID,
      image: env.BLOOMERY_STACK_IMAGE,
      folder: join(folder, 'containers'),
      host: env.DOCKER_HOST,
      hostAddress: '127.0.0.1',
      // What a build writes lies in the stager's own folders, which it measures.
      disk: 'measured' as const,
      trustHostCertificates: env.BLOOMERY_TRUST_HOST_CERTIFICATES,
      allowUnconfined: env.BLOOMERY_PROCESS_UNCONFINED,
      platform: publicDoors(env),
    },
  }
}
