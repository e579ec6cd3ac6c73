import { z } from 'zod'
import type { LastOperation, OperationType } from '../../service-operations/operation.js'

export type { LastOperation } from '../../service-operations/operation.js'

/** Of an operation that was done at once. */
export const succeeded = (type: OperationType, at: Date): LastOperation =>
  lastOperation(type, 'succeeded', 'Operation succeeded', at, at)

/** What the client prints as the state of a service instance or binding. */
export const lastOperation = (
  type: OperationType,
  state: LastOperation['state'],
  description: string,
  createdAt: Date,
  updatedAt: Date,
): LastOperation => ({
  type,
  state,
  description,
  created_at: createdAt.toISOString(),
  updated_at: updatedAt.toISOString(),
})

const Stored = z.object({ type: z.string(), state: z.string(), description: z.string().nullish(), updated_at: z.string() })

/** As it was written; undefined for rows that are older than operations. */
export const readLastOperation = (stored: unknown): z.infer<typeof Stored> | undefined => Stored.safeParse(stored).data

const is = (stored: unknown, type: OperationType, state: LastOperation['state']): boolean => {
  const operation = readLastOperation(stored)
  return operation?.type === type && operation.state === state
}
/** The broker never made it; only its name and its reason are left. */
export const isCreateFailed = (instance: { readonly lastOperation: unknown }): boolean =>
  is(instance.lastOperation, 'create', 'failed')
export const isBeingCreated = (instance: { readonly lastOperation: unknown }): boolean =>
  is(instance.lastOperation, 'create', 'in progress') || is(instance.lastOperation, 'create', 'initial')
export const isBeingDeleted = (instance: { readonly lastOperation: unknown }): boolean =>
  is(instance.lastOperation, 'delete', 'in progress')
