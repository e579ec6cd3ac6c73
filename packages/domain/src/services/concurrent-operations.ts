type OperationKind = 'create' | 'update' | 'delete'
/** An operation that has not ended: its type, and whether the broker has taken it up. */
export interface PendingOperation {
  readonly type: OperationKind
  readonly accepted: boolean
}

/**
 * Whether an instance may be changed now: one operation at a time, except that what is being created may be deleted once the broker has
 * taken up the creation (before that there is nothing to send it).
 */
export function mayStart(wanted: OperationKind, pending: readonly PendingOperation[]): boolean {
  if (wanted !== 'delete') return pending.length === 0
  return pending.every((each) => each.type === 'create' && each.accepted)
}
