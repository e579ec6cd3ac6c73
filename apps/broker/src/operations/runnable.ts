import type { OperationRecord } from '../state/records.js'

type Candidate = Pick<OperationRecord, 'id' | 'instanceGuid' | 'bindingGuid'>

/**
 * Which of the open operations (oldest first) may begin: those of one instance go in their order, only those of different bindings side
 * by side, and never more than `limit` in all.
 */
export function runnable<T extends Candidate>(open: readonly T[], running: ReadonlySet<string>, limit: number): T[] {
  const chosen: T[] = []
  const whole = new Set<string>()
  const touched = new Map<string, Set<string>>()
  let room = limit - running.size
  for (const operation of open) {
    const { instanceGuid, bindingGuid } = operation
    const bindings = touched.get(instanceGuid) ?? new Set()
    touched.set(instanceGuid, bindings)
    const free = !whole.has(instanceGuid) && (bindingGuid === null ? bindings.size === 0 : !bindings.has(bindingGuid))
    if (bindingGuid === null) whole.add(instanceGuid)
    else bindings.add(bindingGuid)
    if (!free || running.has(operation.id) || room <= 0) continue
    chosen.push(operation)
    room--
  }
  return chosen
}
