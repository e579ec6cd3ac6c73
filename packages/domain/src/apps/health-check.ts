/** A health check as a process keeps it; absent keys mean the default. */
export interface HealthCheckSettings {
  readonly type: 'port' | 'http' | 'process'
  readonly endpoint?: string
  /** Startup limit, seconds. */
  readonly timeout?: number
  readonly invocationTimeout?: number
  readonly interval?: number
}
export interface HealthCheckChange {
  readonly type?: 'port' | 'http' | 'process' | undefined
  readonly endpoint?: string | null | undefined
  readonly timeout?: number | null | undefined
  readonly invocationTimeout?: number | null | undefined
  readonly interval?: number | null | undefined
}
/** Longest time that an app may take to become healthy. */
export const MAX_STARTUP_SECONDS = 180

/** The check after a change; null sets back to the default. An http check without an endpoint asks for `/`, no other has one. */
export function changeHealthCheck(present: HealthCheckSettings, change: HealthCheckChange): HealthCheckSettings {
  const type = change.type ?? present.type
  const pick = <T>(given: T | null | undefined, kept: T | undefined): T | undefined =>
    given === undefined ? kept : (given ?? undefined)
  const endpoint = type === 'http' ? (pick(change.endpoint, present.endpoint) ?? '/') : undefined
  const timeout = pick(change.timeout, present.timeout)
  const invocationTimeout = pick(change.invocationTimeout, present.invocationTimeout)
  const interval = pick(change.interval, present.interval)
  return {
    type,
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(timeout === undefined ? {} : { timeout }),
    ...(invocationTimeout === undefined ? {} : { invocationTimeout }),
    ...(interval === undefined ? {} : { interval }),
  }
}

/** Web processes must listen; all others must only run. */
export const defaultHealthCheck = (processType: string): HealthCheckSettings => ({
  type: processType === 'web' ? 'port' : 'process',
})
