import { z } from 'zod'
import { ListenAddress } from './parse.js'

/** How roles find each other. On one machine the launcher sets all of these; elsewhere the operator does (docker-compose.yml shows it). */
export const DatabaseEnv = z.object({ DATABASE_URL: z.string() })
export const RedisEnv = z.object({ REDIS_URL: z.string() })
/** `file:/absolute/folder` or `s3:…`; signed addresses for cells are made under BLOOMERY_BLOBS_URL (the api's internal listener). */
export const BlobstoreEnv = z.object({ BLOBSTORE_URL: z.string(), BLOOMERY_BLOBS_URL: z.string() })
export const KeyringEnv = z.object({ BLOOMERY_KEYRING_FILE: z.string() })
/** The role's own certificate: a folder that holds it, or where to join and with which token to obtain it. */
export const NodeEnv = z.object({
  BLOOMERY_NODE_DIR: z.string(),
  BLOOMERY_NODE_ID: z.string().default('main'),
  BLOOMERY_JOIN_URL: z.string().optional(),
  BLOOMERY_JOIN_TOKEN: z.string().optional(),
})
export const ApiListenEnv = z.object({ BLOOMERY_API_LISTEN: ListenAddress, BLOOMERY_API_INTERNAL_LISTEN: ListenAddress })
export const SchedulerListenEnv = z.object({ BLOOMERY_SCHEDULER_LISTEN: ListenAddress })
export const LogsListenEnv = z.object({ BLOOMERY_LOGS_LISTEN: ListenAddress })
/** https://host:port of the scheduler's and the log store's internal listeners. */
export const SchedulerUrlEnv = z.object({ BLOOMERY_SCHEDULER_URL: z.string() })
export const LogsUrlEnv = z.object({ BLOOMERY_LOGS_URL: z.string() })
/** Comma-separated http://host:port of the api's public listeners, for the router. */
export const ApiUpstreamEnv = z.object({
  BLOOMERY_API_UPSTREAMS: z.string().transform((text) => text.split(',').filter(Boolean)),
})
export const EngineEnv = z.object({
  BLOOMERY_ENGINE: z.enum(['docker', 'process']).default('docker'),
  DOCKER_HOST: z.string().optional(),
  BLOOMERY_INSTALLATION_ID: z.string(),
  /** Image that both stack rows stand for. */
  BLOOMERY_STACK_IMAGE: z.string().default('bloomery/stack:bookworm'),
})
