import type { LastOperation } from '../service-operations/operation.js'

/** How a binding's last operation reads; `since` is when it was asked for. */
export const lastOperation = (
  type: LastOperation['type'],
  state: LastOperation['state'],
  description: string,
  since: Date,
): { type: string; state: string; description: string; created_at: string; updated_at: string } => ({
  type,
  state,
  description,
  created_at: since.toISOString(),
  updated_at: new Date().toISOString(),
})
