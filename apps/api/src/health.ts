import type { FastifyInstance } from 'fastify'
import { rows, sql, type Pool } from '@bloomery/database'
import type { LogReader } from './logs/log-reader.js'

export interface HealthParts {
  readonly pool: Pool
  readonly isRedisReady: () => Promise<boolean>
  readonly logReader: LogReader
}
interface Signs {
  scheduler: boolean
  stager: boolean
  cells: number
}
const TIMEOUT_MS = 2_000
/** A cell reports every few seconds; one that has been silent for longer takes no app. */
const CELL_FRESH_SECONDS = 30
/** No app's guid: asking for all apps would cost the log store more with each app. */
const NOBODY = '00000000-0000-0000-0000-000000000000'

/** GET /healthz answers 200 only when a push would work, and else tells what is missing. */
export function healthRoutes(app: FastifyInstance, parts: HealthParts): void {
  app.get('/healthz', { config: { permission: 'public' } }, async (_request, reply) => {
    const checks = await checkHealth(parts)
    const missing = Object.entries(checks).filter(([, ok]) => !ok)
    return reply
      .code(missing.length === 0 ? 200 : 503)
      .header('cache-control', 'no-store')
      .send({ ready: missing.length === 0, checks })
  })
}

async function checkHealth({ pool, isRedisReady, logReader }: HealthParts): Promise<Record<string, boolean>> {
  const [signs, redis, logs] = await Promise.all([
    within(readSigns(pool)),
    within(isRedisReady()),
    within(logReader.meta([NOBODY]).then(() => true)),
  ])
  return {
    database: signs !== undefined,
    redis: redis === true,
    scheduler: signs?.scheduler === true,
    stager: signs?.stager === true,
    cells: (signs?.cells ?? 0) > 0,
    logs: logs === true,
  }
}

async function readSigns(pool: Pool): Promise<Signs | undefined> {
  const [row] = await rows<Signs>(
    pool,
    sql`SELECT EXISTS (SELECT 1 FROM leases WHERE name = 'scheduler' AND expires_at > clock_timestamp()) AS scheduler,
          EXISTS (SELECT 1 FROM leases WHERE (name = 'stager' OR name LIKE 'stager:%') AND expires_at > clock_timestamp()) AS stager,
          (SELECT count(*)::int FROM cells WHERE state = 'active'
             AND last_seen_at > clock_timestamp() - ${CELL_FRESH_SECONDS} * interval '1 second') AS cells`,
  )
  return row
}

/** undefined for a check that fails or takes too long. */
async function within<T>(check: Promise<T>): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), TIMEOUT_MS)
  })
  try {
    return await Promise.race([check.catch(() => undefined), late])
  } finally {
    clearTimeout(timer)
  }
}
