import { join } from 'node:path'
import {
  homePaths,
  LogsListenEnv,
  NodeEnv,
  parseEnvironment,
  PlatformEnv,
  TenantAddressEnv,
  tenantAddressPolicy,
} from '@bloomery/config'
import { z } from 'zod'

const MiB = 1024 * 1024

const LogsEnv = PlatformEnv.pick({ BLOOMERY_HOME: true })
  .extend(LogsListenEnv.shape)
  .extend(NodeEnv.shape)
  .extend(TenantAddressEnv.shape)
  .extend({
    BLOOMERY_LOGS_BYTES_PER_APP: z.coerce
      .number()
      .int()
      .min(MiB)
      .default(8 * MiB)
      .describe('Bytes of log kept per app'),
    BLOOMERY_LOGS_LINES_PER_APP: z.coerce.number().int().min(1000).default(100_000).describe('Lines of log kept per app'),
    BLOOMERY_LOGS_RETENTION_HOURS: z.coerce
      .number()
      .positive()
      .default(168)
      .describe('An app that is silent for so long loses its log'),
  })
  .transform((env) => {
    const folder = homePaths(env.BLOOMERY_HOME).logs
    return {
      listen: env.BLOOMERY_LOGS_LISTEN,
      appsFolder: join(folder, 'apps'),
      metricsPath: join(folder, 'metrics.json'),
      drainsPath: join(folder, 'drains.json'),
      tenantAddresses: tenantAddressPolicy(env),
      bounds: { maxBytes: env.BLOOMERY_LOGS_BYTES_PER_APP, maxLines: env.BLOOMERY_LOGS_LINES_PER_APP },
      retentionMs: env.BLOOMERY_LOGS_RETENTION_HOURS * 3_600_000,
    }
  })
export type LogsConfig = z.output<typeof LogsEnv>

export const loadLogsConfig = (env: NodeJS.ProcessEnv): LogsConfig => parseEnvironment(LogsEnv, env)
