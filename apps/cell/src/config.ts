import { availableParallelism, totalmem } from 'node:os'
import { join, resolve } from 'node:path'
import {
  EngineEnv,
  Flag,
  homePaths,
  LogsUrlEnv,
  NodeEnv,
  parseEnvironment,
  PlatformEnv,
  publicDoors,
  SchedulerUrlEnv,
} from '@bloomery/config'
import { z } from 'zod'

const MIB = 1024 * 1024
/** Limits are ceilings, and the default app asks for 1 GB: a machine carries more of them than it has memory. */
const OVERCOMMIT = 4
const LOOPBACK = '127.0.0.1'

const CellEnv = z.object({
  ...PlatformEnv.shape,
  ...NodeEnv.shape,
  ...SchedulerUrlEnv.shape,
  ...LogsUrlEnv.shape,
  ...EngineEnv.shape,
  BLOOMERY_CELL_ADDRESS: z.string().default('127.0.0.1').describe('Address at which other machines reach the ports of instances'),
  BLOOMERY_CELL_TLS_PORT: z.coerce
    .number()
    .int()
    .min(1)
    .max(65_535)
    .optional()
    .describe(
      'Port at which routers on other machines reach the instances by TLS, each with a certificate of its own; the ports of the instances are then published on this machine alone',
    ),
  BLOOMERY_CELL_ZONE: z.string().default('z1').describe('Availability zone of this cell'),
  BLOOMERY_CELL_MEMORY_MB: z.coerce
    .number()
    .int()
    .positive()
    .optional()
    .describe("Memory that instances may ask for together; four times the machine's by default"),
  BLOOMERY_CELL_DISK_MB: z.coerce
    .number()
    .int()
    .positive()
    .optional()
    .describe('Disk that instances may ask for together; four times what is free by default'),
  BLOOMERY_CELL_MAX_INSTANCES: z.coerce.number().int().positive().default(250).describe('Most instances on this cell'),
  BLOOMERY_CELL_DROPLETS: z.string().optional().describe('Folder of unpacked droplets, each named by its SHA-256'),
  BLOOMERY_CELL_DROPLET_CACHE_MB: z.coerce
    .number()
    .int()
    .positive()
    .default(10_240)
    .describe('Unpacked droplets beyond this size that nothing runs from are removed'),
  BLOOMERY_CELL_DISK: z
    .enum(['auto', 'measured'])
    .default('auto')
    .describe('`measured` where the engine cannot see what the agent mounts, e.g. an agent in a container of its own'),
  BLOOMERY_TRUST_HOST_CERTIFICATES: Flag.default(true).describe('Whether apps trust the authorities that the machine trusts'),
  BLOOMERY_PROCESS_UNCONFINED: Flag.default(false).describe('Lets the process engine run apps without any confinement'),
})

/** Everything the agent was told, once. */
export type CellConfig = ReturnType<typeof loadCellConfig>

export function loadCellConfig(source: NodeJS.ProcessEnv) {
  const env = parseEnvironment(CellEnv, source)
  const home = resolve(env.BLOOMERY_HOME)
  const folder = homePaths(home).cell
  return {
    cellId: env.BLOOMERY_NODE_ID,
    folder,
    zone: env.BLOOMERY_CELL_ZONE,
    address: env.BLOOMERY_CELL_ADDRESS,
    tlsPort: env.BLOOMERY_CELL_TLS_PORT,
    memoryMb: env.BLOOMERY_CELL_MEMORY_MB ?? Math.floor((totalmem() / MIB) * OVERCOMMIT),
    diskMb: env.BLOOMERY_CELL_DISK_MB,
    diskOvercommit: OVERCOMMIT,
    cores: availableParallelism(),
    maxInstances: env.BLOOMERY_CELL_MAX_INSTANCES,
    schedulerUrl: env.BLOOMERY_SCHEDULER_URL,
    logsUrl: env.BLOOMERY_LOGS_URL,
    droplets: {
      folder: resolve(env.BLOOMERY_CELL_DROPLETS ?? join(folder, 'droplets')),
      maxBytes: env.BLOOMERY_CELL_DROPLET_CACHE_MB * MIB,
    },
    node: { dir: env.BLOOMERY_NODE_DIR, joinUrl: env.BLOOMERY_JOIN_URL },
    engine: {
      kind: env.BLOOMERY_ENGINE,
      installationId: env.BLOOMERY_INSTALLATION_ID,
      image: env.BLOOMERY_STACK_IMAGE,
      folder: join(folder, 'containers'),
      host: env.DOCKER_HOST,
      hostAddress: env.BLOOMERY_CELL_TLS_PORT === undefined ? env.BLOOMERY_CELL_ADDRESS : LOOPBACK,
      disk: env.BLOOMERY_CELL_DISK === 'auto' ? undefined : env.BLOOMERY_CELL_DISK,
      trustHostCertificates: env.BLOOMERY_TRUST_HOST_CERTIFICATES,
      allowUnconfined: env.BLOOMERY_PROCESS_UNCONFINED,
      platform: publicDoors(env),
    },
  }
}
