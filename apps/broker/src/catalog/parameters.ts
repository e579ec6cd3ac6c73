import { Cron } from 'croner'
import { z } from 'zod'

function isCron(text: string): boolean {
  try {
    return new Cron(text, { timezone: 'UTC', paused: true }).nextRun() !== null
  } catch {
    return false
  }
}

const schedule = z
  .string()
  .refine(
    (text) => text === '' || (text.trim().split(/\s+/).length === 5 && isCron(text)),
    'must be a cron expression of five fields, e.g. "0 3 * * *"',
  )
  .describe('When backups are made by themselves: a cron expression of five fields in UTC; empty for never')
const keep_backups = z.int().min(1).max(100).describe('How many backups are kept; the oldest go first. 7 if not given')

/** What create-service takes for every offering. */
export const BackupParameters = z.strictObject({ schedule: schedule.optional(), keep_backups: keep_backups.optional() })
/** What update-service takes for every offering. */
export const UpdateParameters = z.strictObject({
  ...BackupParameters.shape,
  backup: z.literal(true).optional().describe('Makes a backup now'),
  restore: z
    .string()
    .min(1)
    .optional()
    .describe('Replaces all data by those of the backup with this id; `cf service NAME --params` lists them'),
})

/** The next time after `now` that the expression names. */
export const nextRun = (expression: string, now: Date): Date | null =>
  new Cron(expression, { timezone: 'UTC', paused: true }).nextRun(now)
