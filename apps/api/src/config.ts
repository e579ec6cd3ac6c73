import {
  ConfigError,
  apiHosts,
  ApiListenEnv,
  BlobstoreEnv,
  DatabaseEnv,
  Flag,
  KeyringEnv,
  LogsUrlEnv,
  parseEnvironment,
  PlatformEnv,
  RedisEnv,
  tcpPortRanges,
  TenantAddressEnv,
  tenantAddressPolicy,
} from '@bloomery/config'
import { z } from 'zod'
import type { AcmeOptions } from './acme/acme-certificates.js'
import { CHALLENGE_TYPES } from './acme/challenges.js'
import type { ApiSettings } from './settings.js'

const Megabytes = z.coerce.number().int().min(1)
const Seconds = z.coerce.number().positive()
const ApiEnv = z.object({
  ...PlatformEnv.shape,
  ...DatabaseEnv.shape,
  ...RedisEnv.shape,
  ...BlobstoreEnv.shape,
  ...KeyringEnv.shape,
  ...ApiListenEnv.shape,
  ...LogsUrlEnv.shape,
  ...TenantAddressEnv.shape,
  /** Marks everything that belongs to this platform. The same for all roles. */
  BLOOMERY_INSTALLATION_ID: z.string(),
  /** Name of this node among those of its role. */
  BLOOMERY_NODE_ID: z.string().default('main'),
  /** The admin user gets it at every start; without it an admin that is there keeps its password, and none can be made. */
  BLOOMERY_ADMIN_PASSWORD: z.string().min(1).optional(),
  /** Where roles find their one-time join tokens: <folder>/<role>/token. */
  BLOOMERY_BOOTSTRAP_TOKENS_DIR: z.string().optional(),
  /** Folder of the migrations' folder. */
  BLOOMERY_PRISMA_DIR: z.string().optional(),
  /** Folder of the system buildpacks; the product's own by default. */
  BLOOMERY_BUILDPACKS_DIR: z.string().optional(),
  /** The API as `cf_api` and token issuer name it; default http://api.<system domain>:<http port>. */
  BLOOMERY_PUBLIC_API_URL: z.url().optional(),
  /** Whose X-Forwarded-* headers are believed: addresses, networks, or loopback, linklocal, uniquelocal. */
  BLOOMERY_TRUSTED_PROXIES: z.string().default('loopback'),
  /** Directory of a certificate authority that speaks ACME, for certificates of routes' names; unset: the platform's own authority signs. */
  BLOOMERY_ACME_DIRECTORY_URL: z.url().optional(),
  /** E-mail address to which that authority writes. */
  BLOOMERY_ACME_CONTACT: z.email().optional(),
  /** `true`: you agree to that authority's terms of service. */
  BLOOMERY_ACME_TERMS_AGREED: Flag.default(false),
  /** Ways by which that authority may ask whether a name leads here, the preferred one first: http-01 (port 80), tls-alpn-01 (port 443). */
  BLOOMERY_ACME_CHALLENGES: z
    .string()
    .default(CHALLENGE_TYPES.join(','))
    .transform((text) => text.split(',').map((each) => each.trim()))
    .pipe(z.array(z.enum(CHALLENGE_TYPES)).min(1)),
  /** Port at which that authority asks by http-01; public ones always ask at 80. */
  BLOOMERY_ACME_HTTP_PORT: z.coerce.number().int().min(1).max(65_535).default(80),
  /** Port at which that authority asks by tls-alpn-01; public ones always ask at 443. */
  BLOOMERY_ACME_HTTPS_PORT: z.coerce.number().int().min(1).max(65_535).default(443),
  /** Largest upload. */
  BLOOMERY_MAX_PACKAGE_MB: Megabytes.default(1024),
  /** Memory of a process that asks for none. */
  BLOOMERY_DEFAULT_MEMORY_MB: Megabytes.default(1024),
  /** Disk of a process that asks for none. */
  BLOOMERY_DEFAULT_DISK_MB: Megabytes.default(1024),
  /** Most disk that a process may ask for. */
  BLOOMERY_MAX_DISK_MB: Megabytes.default(10_240),
  /** Memory of a build. */
  BLOOMERY_STAGING_MEMORY_MB: Megabytes.default(1024),
  /** Disk of a build. */
  BLOOMERY_STAGING_DISK_MB: Megabytes.default(6144),
  /** Bytes of log per second and instance, -1: unlimited. */
  BLOOMERY_DEFAULT_LOG_RATE: z.coerce.number().int().min(-1).default(-1),
  /** How long a service broker may take for one answer. */
  BLOOMERY_BROKER_TIMEOUT_SECONDS: Seconds.default(60),
  /** How many requests one service broker gets at once. */
  BLOOMERY_BROKER_CONCURRENCY: z.coerce.number().int().min(1).default(16),
  /** How many answers of service brokers one user may wait for at once, over all api processes; 0: no limit. Operators have none. */
  BLOOMERY_BROKER_CALLS_PER_USER: z.coerce.number().int().min(0).default(0),
  /** How soon a service broker is asked again about work under way. */
  BLOOMERY_BROKER_POLL_SECONDS: Seconds.default(2),
  /** By how much the time between two such questions grows; 1: not at all. */
  BLOOMERY_BROKER_POLL_BACKOFF: z.coerce.number().min(1).default(1.3),
  /** The longest time between two such questions, unless the broker asks for longer. */
  BLOOMERY_BROKER_POLL_MAX_SECONDS: Seconds.default(60),
  /** How long work of a service broker may take at most, whatever the plan allows. */
  BLOOMERY_BROKER_MAX_POLLING_MINUTES: z.coerce.number().positive().default(10_080),
  /** Check the parameters of services against the plan's schema before the broker is asked. */
  BLOOMERY_CHECK_SERVICE_PARAMETERS: Flag.default(false),
})
type ApiEnv = z.output<typeof ApiEnv>

/** What the process needs beyond the settings that routes see. */
export interface ApiConfig {
  readonly settings: ApiSettings
  readonly databaseUrl: string
  readonly redisUrl: string
  readonly blobstoreUrl: string
  readonly blobsUrl: string
  readonly keyringFile: string
  readonly logsUrl: string
  readonly listen: { readonly host: string; readonly port: number }
  readonly internalListen: { readonly host: string; readonly port: number }
  readonly nodeId: string
  readonly adminPassword: string | undefined
  readonly bootstrapTokensDir: string | undefined
  readonly prismaDir: string | undefined
  readonly buildpacksDir: string | undefined
  readonly acme: AcmeOptions | undefined
}

export function loadApiConfig(env: NodeJS.ProcessEnv): ApiConfig {
  const parsed = parseEnvironment(ApiEnv, env)
  return {
    settings: settingsOf(parsed),
    databaseUrl: parsed.DATABASE_URL,
    redisUrl: parsed.REDIS_URL,
    blobstoreUrl: parsed.BLOBSTORE_URL,
    blobsUrl: parsed.BLOOMERY_BLOBS_URL,
    keyringFile: parsed.BLOOMERY_KEYRING_FILE,
    logsUrl: parsed.BLOOMERY_LOGS_URL,
    listen: parsed.BLOOMERY_API_LISTEN,
    internalListen: parsed.BLOOMERY_API_INTERNAL_LISTEN,
    nodeId: parsed.BLOOMERY_NODE_ID,
    adminPassword: parsed.BLOOMERY_ADMIN_PASSWORD,
    bootstrapTokensDir: parsed.BLOOMERY_BOOTSTRAP_TOKENS_DIR,
    prismaDir: parsed.BLOOMERY_PRISMA_DIR,
    buildpacksDir: parsed.BLOOMERY_BUILDPACKS_DIR,
    acme: acmeOptions(parsed),
  }
}

function acmeOptions(env: ApiEnv): AcmeOptions | undefined {
  if (env.BLOOMERY_ACME_DIRECTORY_URL === undefined) return undefined
  if (!env.BLOOMERY_ACME_TERMS_AGREED)
    throw new ConfigError(
      'Invalid configuration:\nBLOOMERY_ACME_DIRECTORY_URL takes your agreement to the terms of that authority: read them, then set BLOOMERY_ACME_TERMS_AGREED=true.',
    )
  return {
    directoryUrl: env.BLOOMERY_ACME_DIRECTORY_URL,
    contact: env.BLOOMERY_ACME_CONTACT,
    challengeTypes: env.BLOOMERY_ACME_CHALLENGES,
    ports: { http: env.BLOOMERY_ACME_HTTP_PORT, https: env.BLOOMERY_ACME_HTTPS_PORT },
  }
}

function settingsOf(env: ApiEnv): ApiSettings {
  const port = env.BLOOMERY_HTTP_PORT === 80 ? '' : `:${env.BLOOMERY_HTTP_PORT}`
  return {
    systemDomain: env.BLOOMERY_SYSTEM_DOMAIN,
    appsDomain: env.BLOOMERY_APPS_DOMAIN,
    httpPort: env.BLOOMERY_HTTP_PORT,
    httpsPort: env.BLOOMERY_HTTPS_PORT,
    sshPort: env.BLOOMERY_SSH_PORT,
    tcpPorts: tcpPortRanges(env),
    apiHosts: new Set(apiHosts(env)),
    publicApiUrl: env.BLOOMERY_PUBLIC_API_URL?.replace(/\/+$/, '') ?? `http://api.${env.BLOOMERY_SYSTEM_DOMAIN}${port}`,
    trustedProxies: env.BLOOMERY_TRUSTED_PROXIES,
    apiVersion: '3.215.0',
    installationId: env.BLOOMERY_INSTALLATION_ID,
    maxPackageBytes: env.BLOOMERY_MAX_PACKAGE_MB * 1024 * 1024,
    defaults: {
      memoryMb: env.BLOOMERY_DEFAULT_MEMORY_MB,
      diskMb: env.BLOOMERY_DEFAULT_DISK_MB,
      maxDiskMb: env.BLOOMERY_MAX_DISK_MB,
      stagingMemoryMb: env.BLOOMERY_STAGING_MEMORY_MB,
      stagingDiskMb: env.BLOOMERY_STAGING_DISK_MB,
      logRateLimit: env.BLOOMERY_DEFAULT_LOG_RATE,
    },
    longPollMs: 2_500,
    services: {
      polling: {
        intervalSeconds: env.BLOOMERY_BROKER_POLL_SECONDS,
        backoffRate: env.BLOOMERY_BROKER_POLL_BACKOFF,
        maxIntervalSeconds: env.BLOOMERY_BROKER_POLL_MAX_SECONDS,
        maxDurationSeconds: env.BLOOMERY_BROKER_MAX_POLLING_MINUTES * 60,
      },
      brokerTimeoutMs: env.BLOOMERY_BROKER_TIMEOUT_SECONDS * 1_000,
      perBroker: env.BLOOMERY_BROKER_CONCURRENCY,
      callsPerUser: env.BLOOMERY_BROKER_CALLS_PER_USER,
      checkParameters: env.BLOOMERY_CHECK_SERVICE_PARAMETERS,
      tenantAddresses: tenantAddressPolicy(env),
    },
  }
}
