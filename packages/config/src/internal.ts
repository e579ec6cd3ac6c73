import { z } from 'zod'
import { ListenAddress } from './parse.js'

// How roles find each other. On one machine the launcher sets all of these; elsewhere the operator does (docker-compose.yml shows it).

export const DatabaseEnv = z.object({
  /** `postgres://user:password@host:port/database`. */
  DATABASE_URL: z.string(),
})
export const RedisEnv = z.object({
  /** `redis://:password@host:port`. */
  REDIS_URL: z.string(),
})
export const BlobstoreEnv = z.object({
  /** `file:/absolute/folder` or `s3:…`. */
  BLOBSTORE_URL: z.string(),
  /** Address of the api's internal listener, as cells reach it: signed addresses of droplets are made under it. */
  BLOOMERY_BLOBS_URL: z.string(),
})
export const KeyringEnv = z.object({
  /** The keys under which secrets are kept in the database; the api makes it where there is none. */
  BLOOMERY_KEYRING_FILE: z.string(),
})
/** The role's own certificate: a folder that holds it, or where to join and with which token to obtain it. */
export const NodeEnv = z.object({
  /** Folder of the role's certificate: node.crt, node.key, ca.crt. */
  BLOOMERY_NODE_DIR: z.string(),
  /** Name of this node among those of its role; a second cell or router needs another. */
  BLOOMERY_NODE_ID: z.string().default('main'),
  /** https://host:port of the api's internal listener, where certificates are obtained and renewed. */
  BLOOMERY_JOIN_URL: z.string().optional(),
  /** One-time token, where there is no certificate yet. As BLOOMERY_JOIN_TOKEN_FILE it is waited for, and may be replaced. */
  BLOOMERY_JOIN_TOKEN: z.string().optional(),
})
export const ApiListenEnv = z.object({
  /** Public listener (plain HTTP, for routers). */
  BLOOMERY_API_LISTEN: ListenAddress,
  /** Listener for other roles (TLS). */
  BLOOMERY_API_INTERNAL_LISTEN: ListenAddress,
})
export const SchedulerListenEnv = z.object({
  /** Listener for cells and routers (TLS). */
  BLOOMERY_SCHEDULER_LISTEN: ListenAddress,
})
export const LogsListenEnv = z.object({
  /** Listener for all roles (TLS). */
  BLOOMERY_LOGS_LISTEN: ListenAddress,
})
export const SchedulerUrlEnv = z.object({
  /** https://host:port of the scheduler's listener. */
  BLOOMERY_SCHEDULER_URL: z.string(),
})
export const LogsUrlEnv = z.object({
  /** https://host:port of the log store's listener. */
  BLOOMERY_LOGS_URL: z.string(),
})
export const ApiUpstreamEnv = z.object({
  /** Comma-separated http://host:port of the apis' public listeners. */
  BLOOMERY_API_UPSTREAMS: z.string().transform((text) => text.split(',').filter(Boolean)),
})
export const EngineEnv = z.object({
  /** What runs containers. */
  BLOOMERY_ENGINE: z.enum(['docker', 'process']).default('docker'),
  /** Address of the Docker engine; its usual socket where it is not set. */
  DOCKER_HOST: z.string().optional(),
  /** Marks everything that belongs to this platform: containers, networks, volumes. The same for all roles. */
  BLOOMERY_INSTALLATION_ID: z.string(),
  /** Image that both stack rows stand for. */
  BLOOMERY_STACK_IMAGE: z.string().default('bloomery/stack:bookworm'),
})
