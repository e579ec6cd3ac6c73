import { z } from 'zod'
import type { OperationRecord } from '../state/records.js'
import { OsbError } from './errors.js'

/** Reads a part of a request; every fault is named. */
export function parse<T>(schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value ?? {})
  if (result.success) return result.data
  const faults = result.error.issues.map(({ path, message }) => [path.join('.'), message].filter(Boolean).join(': '))
  throw new OsbError(400, `The request is malformed: ${faults.join('; ')}`)
}

export const InstancePath = z.object({ instance: z.string().min(1) })
export const BindingPath = z.object({ instance: z.string().min(1), binding: z.string().min(1) })
export const AsyncQuery = z.object({ accepts_incomplete: z.enum(['true', 'false']).optional() })

export const presentOperation = ({ state, description, kind }: OperationRecord) => ({
  state,
  ...(description === null ? {} : { description }),
  ...(state === 'failed' && (kind === 'update' || kind === 'restore' || kind === 'backup' || kind === 'deprovision')
    ? { instance_usable: kind !== 'deprovision', ...(kind === 'deprovision' ? {} : { update_repeatable: true }) }
    : {}),
})
