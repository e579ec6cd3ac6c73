import { changeHealthCheck, MAX_STARTUP_SECONDS, type HealthCheckChange, type HealthCheckSettings } from '@bloomery/domain'
import type { Process, Transaction } from '@bloomery/database'
import { z } from 'zod'
import { Integer } from '../../http/bodies.js'
import type { Context } from '../../http/context.js'
import { notFound } from '../../http/errors.js'
import { applyMetadata, MetadataInput } from '../../http/metadata.js'
import type { JobActor } from '../../jobs/jobs.js'
import { recordAppEvent } from '../apps/app-events.js'
import { TRANSACTION } from '../apps/change-state.js'
import { lockApp } from '../apps/find-app.js'

const Seconds = Integer.pipe(z.number().min(1, 'must be greater than or equal to 1').max(2_147_483_647)).nullish()
const Type = z.enum(['port', 'http', 'process'], 'must be "port", "process", or "http"')
const Endpoint = z
  .string()
  .regex(/^\/\S*$/, 'must be a valid URI path')
  .nullish()
export const UpdateProcess = z.strictObject({
  command: z
    .string()
    .min(1, 'must be between 1 and 4096 characters')
    .max(4096, 'must be between 1 and 4096 characters')
    .nullish(),
  user: z.literal('vcap', "must be 'vcap'").nullish(),
  health_check: z
    .strictObject({
      type: Type.nullish(),
      data: z
        .strictObject({
          timeout: Integer.pipe(
            z
              .number()
              .min(1, 'must be greater than or equal to 1')
              .max(MAX_STARTUP_SECONDS, `must be at most ${MAX_STARTUP_SECONDS} seconds`),
          ).nullish(),
          invocation_timeout: Seconds,
          interval: Seconds,
          endpoint: Endpoint,
        })
        .nullish(),
    })
    .nullish(),
  readiness_health_check: z
    .strictObject({
      type: Type.nullish(),
      data: z.strictObject({ invocation_timeout: Seconds, interval: Seconds, endpoint: Endpoint }).nullish(),
    })
    .nullish(),
  metadata: MetadataInput.optional(),
})
export type UpdateProcess = z.infer<typeof UpdateProcess>

export interface ProcessChange {
  /** null goes back to the droplet's own command. */
  readonly command?: string | null | undefined
  readonly healthCheck?: HealthCheckChange | undefined
  readonly readinessHealthCheck?: HealthCheckChange | undefined
  readonly metadata?: MetadataInput | undefined
}

export const toChange = (input: UpdateProcess): ProcessChange => ({
  command: input.command,
  healthCheck: input.health_check ? toCheck(input.health_check) : undefined,
  readinessHealthCheck: input.readiness_health_check ? toCheck(input.readiness_health_check) : undefined,
  metadata: input.metadata,
})
const toCheck = (
  check: NonNullable<UpdateProcess['health_check'] | UpdateProcess['readiness_health_check']>,
): HealthCheckChange => ({
  type: check.type ?? undefined,
  endpoint: check.data?.endpoint,
  timeout: check.data && 'timeout' in check.data ? check.data.timeout : undefined,
  invocationTimeout: check.data?.invocation_timeout,
  interval: check.data?.interval,
})

/** Changes how a process starts and is checked; what runs does not notice before the next start. In the caller's transaction. */
export async function updateProcessIn(
  tx: Transaction,
  actor: JobActor,
  process: Pick<Process, 'guid' | 'appGuid'>,
  change: ProcessChange,
  options: { readonly manifestTriggered?: boolean } = {},
): Promise<Process> {
  const app = await lockApp(tx, process.appGuid)
  const present = await tx.process.findUnique({ where: { guid: process.guid } })
  if (!present) throw notFound('Process')
  const check = (kept: unknown, wish: HealthCheckChange) => ({ ...changeHealthCheck(kept as HealthCheckSettings, wish) })
  const row = await tx.process.update({
    where: { guid: present.guid },
    data: {
      ...(change.command === undefined ? {} : { command: change.command }),
      ...(change.healthCheck ? { healthCheck: check(present.healthCheck, change.healthCheck) } : {}),
      ...(change.readinessHealthCheck
        ? { readinessHealthCheck: check(present.readinessHealthCheck, change.readinessHealthCheck) }
        : {}),
      ...(change.metadata ? applyMetadata(present, change.metadata) : {}),
    },
  })
  await recordAppEvent(tx, actor, app, 'audit.app.process.update', {
    process_guid: row.guid,
    process_type: row.type,
    manifest_triggered: options.manifestTriggered ?? false,
    request: {
      ...(change.command === undefined ? {} : { command: '[PRIVATE DATA HIDDEN]' }),
      ...(change.healthCheck?.type ? { health_check_type: change.healthCheck.type } : {}),
    },
  })
  return row
}

export const updateProcess = (
  { db }: Pick<Context, 'db'>,
  actor: JobActor,
  process: Pick<Process, 'guid' | 'appGuid'>,
  change: ProcessChange,
): Promise<Process> => db.$transaction((tx) => updateProcessIn(tx, actor, process, change), TRANSACTION)
