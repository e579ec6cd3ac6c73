import { type HealthCheckChange, MAX_STARTUP_SECONDS } from '../apps/health-check.js'
import { parseBytes, toMebibytes } from './byte-units.js'
import type { ManifestProcess } from './manifest.js'
import { dashed, type Entries, isObject } from './entries.js'

type Complain = (fault: string) => void

/** Processes of an application (its keys dashed already), the web process first. */
export function parseProcesses(app: Entries, complain: Complain): ManifestProcess[] {
  const listed = listProcesses(app['processes'], complain)
  const web = listed.find(({ type }) => type === 'web')
  const fromApp = parseProcess(app, 'web', complain)
  const first = web ?? (Object.keys(fromApp).length > 1 ? fromApp : undefined)
  return [...(first ? [first] : []), ...listed.filter((each) => each !== web)]
}

function listProcesses(processes: unknown, complain: Complain): ManifestProcess[] {
  if (processes === undefined || processes === null) return []
  if (!Array.isArray(processes)) {
    complain('Processes must be an array of process configurations')
    return []
  }
  const parsed = processes.flatMap((entry: unknown) => {
    const process = isObject(entry) ? dashed(entry) : {}
    const { type } = process
    if (typeof type !== 'string' || type === '') {
      complain('All Processes must specify a type')
      return []
    }
    return [parseProcess(process, type, (fault) => complain(`Process "${type}": ${fault}`))]
  })
  for (const type of new Set(parsed.map((each) => each.type)))
    if (parsed.filter((each) => each.type === type).length > 1) complain(`Process "${type}" may only be present once`)
  return parsed
}

function parseProcess(entries: Entries, type: string, complain: Complain): ManifestProcess {
  const command = parseCommand(entries, complain)
  const instances = count(entries['instances'], 'Instances', 0, complain)
  const memoryMb = mebibytes(entries['memory'], 'Memory', complain)
  const diskMb = mebibytes(entries['disk-quota'], 'Disk quota', complain)
  const logRateLimit = logRate(entries['log-rate-limit-per-second'], complain)
  const healthCheck = parseHealthCheck(entries, '', complain)
  const readiness = parseHealthCheck(entries, 'readiness-', complain)
  return {
    type,
    ...(command === undefined ? {} : { command }),
    ...(instances === undefined ? {} : { instances }),
    ...(memoryMb === undefined ? {} : { memoryMb }),
    ...(diskMb === undefined ? {} : { diskMb }),
    ...(logRateLimit === undefined ? {} : { logRateLimit }),
    ...(healthCheck ? { healthCheck } : {}),
    ...(readiness ? { readinessHealthCheck: readiness } : {}),
  }
}

function parseCommand(entries: Entries, complain: Complain): string | null | undefined {
  const { command } = entries
  if (command === undefined) return undefined
  if (command === null || command === 'null' || command === 'default') return null
  if (typeof command !== 'string' || command.length < 1 || command.length > 4096) {
    complain('Command must be between 1 and 4096 characters')
    return undefined
  }
  return command
}

function count(value: unknown, label: string, minimum: number, complain: Complain): number | undefined {
  if (value === undefined || value === null) return undefined
  const number = typeof value === 'string' && /^\d+$/.test(value) ? Number(value) : value
  if (typeof number === 'number' && Number.isInteger(number) && number >= minimum && number <= 2_147_483_647) return number
  complain(`${label} must be ${minimum === 0 ? 'greater than or equal to 0' : `a whole number of at least ${minimum}`}`)
  return undefined
}

function mebibytes(value: unknown, label: string, complain: Complain): number | undefined {
  if (value === undefined || value === null) return undefined
  const parsed = parseBytes(value)
  if ('fault' in parsed) complain(`${label} ${parsed.fault}`)
  else if (toMebibytes(parsed.bytes) < 1) complain(`${label} must be greater than 0MB`)
  else if (toMebibytes(parsed.bytes) > 2_147_483_647) complain(`${label} is too large`)
  else return toMebibytes(parsed.bytes)
  return undefined
}

function logRate(value: unknown, complain: Complain): number | undefined {
  if (value === undefined || value === null) return undefined
  if (String(value).trim() === '-1') return -1
  if (String(value).trim() === '0') return 0
  const parsed = parseBytes(value)
  if ('fault' in parsed) complain(`Log rate limit per second ${parsed.fault}`)
  else if (parsed.bytes < 0) complain('Log rate limit per second must be an integer greater than or equal to -1B')
  else return parsed.bytes
  return undefined
}

const TYPES: Readonly<Record<string, 'port' | 'http' | 'process'>> = {
  port: 'port',
  http: 'http',
  process: 'process',
  none: 'process',
}

function parseHealthCheck(entries: Entries, prefix: '' | 'readiness-', complain: Complain): HealthCheckChange | undefined {
  const label = prefix === '' ? 'Health check' : 'Readiness health check'
  const at = (key: string): unknown => entries[`${prefix}health-check-${key}`]
  const given = at('type')
  const type = given === undefined || given === null ? undefined : TYPES[String(given)]
  if (given !== undefined && given !== null && !type) complain(`${label} type must be "port", "process", or "http"`)
  const endpoint = at('http-endpoint')
  if (endpoint !== undefined && endpoint !== null) {
    if (typeof endpoint !== 'string' || !/^\/\S*$/.test(endpoint)) complain(`${label} http endpoint must be a valid URI path`)
    else if (type !== undefined && type !== 'http') complain(`${label} type must be "http" to set a health check HTTP endpoint`)
  }
  const timeout = prefix === '' ? count(entries['timeout'] ?? at('timeout'), 'Timeout', 1, complain) : undefined
  if (timeout !== undefined && timeout > MAX_STARTUP_SECONDS) complain(`Timeout must be at most ${MAX_STARTUP_SECONDS} seconds`)
  const invocationTimeout = count(at('invocation-timeout'), `${label} invocation timeout`, 1, complain)
  const interval = count(at('interval'), `${label} interval`, 1, complain)
  const change = {
    ...(type === undefined ? {} : { type }),
    ...(typeof endpoint === 'string' ? { endpoint } : {}),
    ...(timeout === undefined ? {} : { timeout }),
    ...(invocationTimeout === undefined ? {} : { invocationTimeout }),
    ...(interval === undefined ? {} : { interval }),
  }
  return Object.keys(change).length > 0 ? change : undefined
}
