/** What of an answer the client prints or decides by, and that is the same each time. */
const READ = new Set(
  `available binding_name bindable code dashboard_url description detail device_type disk_in_mb documentation_url enabled filename free
  health_check host instances internal label lifecycle locked log_rate_limit_in_bytes_per_second matching_route memory_in_mb name path
  protocol reason route_service_url shareable stack state_reason strategy supported_protocols suspended syslog_drain_url title type
  upgrade_available url visibility_type`.split(/\s+/),
)
/** Below these everything is read. */
const WHOLE = new Set(['costs', 'credentials', 'errors', 'maintenance_info', 'options', 'parameters', 'tags', 'warnings'])
/** Logs are never twice the same. */
const PASSED_BY = new Set(['links', 'pagination', 'metadata', 'envelopes'])

/** Address in the document → value. Of lists only those of one: more come in whatever order their rows were made. */
export function read(json: unknown): Record<string, unknown> {
  const found: Record<string, unknown> = {}
  visit(json, '', false, found)
  return found
}

function visit(value: unknown, pointer: string, whole: boolean, found: Record<string, unknown>): void {
  if (Array.isArray(value)) {
    if (whole || value.length === 1) value.forEach((each, i) => visit(each, `${pointer}/${i}`, whole, found))
    return
  }
  if (value === null || typeof value !== 'object') {
    if (whole || READ.has(pointer.split('/').at(-1) ?? '')) found[pointer] = value
    return
  }
  for (const [key, each] of Object.entries(value)) {
    if (PASSED_BY.has(key)) continue
    if (key === 'last_operation') {
      const { type, state, description } = (each ?? {}) as Record<string, unknown>
      // What is under way may be further the next time.
      if (state === 'succeeded' || state === 'failed')
        found[`${pointer}/last_operation`] = `${String(type)} ${state}: ${String(description)}`
    } else visit(each, `${pointer}/${key}`, whole || WHOLE.has(key), found)
  }
}
