import type { InstanceMetrics, LogLine, SyslogDrain } from '@bloomery/contracts'
import type { RequestTimer } from './request-timer.js'

/** What names an app in the messages about it. */
type DrainedApp = Pick<SyslogDrain, 'appGuid' | 'appName' | 'spaceGuid' | 'spaceName' | 'organizationGuid' | 'organizationName'>
type DrainedLine = Pick<LogLine, 'instanceId' | 'sourceType' | 'stream' | 'text' | 'tags'> & { readonly timestamp: bigint }

const INFO = 14
const ERROR = 11

/** A log line as Cloud Foundry's syslog agent writes it: RFC 5424, host org.space.app, the app's guid, `[APP/PROC/WEB/0]`. */
export function formatLine(app: DrainedApp, line: DrainedLine, metadata: boolean): Buffer {
  const text = line.text.replaceAll('\0', '')
  const process = `[${line.sourceType.toUpperCase().replaceAll(' ', '-')}${line.instanceId === '' ? '' : `/${line.instanceId}`}]`
  const data = metadata ? tagData(app, { ...line.tags, instance_id: line.instanceId, source_type: line.sourceType }) : '-'
  const head = header(line.stream === 'ERR' ? ERROR : INFO, line.timestamp, app, process)
  return Buffer.from(`${head} ${data} ${text}\n`)
}

/** What was measured of an instance, one gauge a message. */
export function formatMetrics(app: DrainedApp, metrics: InstanceMetrics, metadata: boolean): Buffer[] {
  const head = header(INFO, parseNanoseconds(metrics.timestamp), app, `[${metrics.instanceId}]`)
  const tags = metadata
    ? tagData(app, {
        instance_id: metrics.instanceId,
        process_id: metrics.processGuid,
        process_instance_id: metrics.instanceGuid,
        process_type: metrics.processType,
      })
    : ''
  return gaugesOf(metrics).map(([name, value, unit]) =>
    Buffer.from(`${head} [gauge@47450 name="${name}" value="${value}" unit="${unit}"]${tags} \n`),
  )
}

/** A request, as a timer. */
export function formatTimer(app: DrainedApp, { start, stop, instanceId, tags }: RequestTimer, metadata: boolean): Buffer {
  const head = header(INFO, stop, app, `[${instanceId}]`)
  const data = metadata ? tagData(app, { instance_id: instanceId, ...tags }) : ''
  return Buffer.from(`${head} [timer@47450 name="http" start="${start}" stop="${stop}"]${data} \n`)
}

/** RFC 6587's octet counting: the length, a space, the message. */
export const octetCounted = (message: Buffer): Buffer => Buffer.concat([Buffer.from(`${message.length} `), message])

function gaugesOf(metrics: InstanceMetrics): (readonly [name: string, value: number, unit: string])[] {
  return [
    ['cpu', metrics.cpu * 100, 'percentage'],
    ['cpu_entitlement', metrics.cpuEntitlement * 100, 'percentage'],
    ['memory', metrics.memoryBytes, 'bytes'],
    ['memory_quota', metrics.memoryQuotaBytes, 'bytes'],
    ['disk', metrics.diskBytes, 'bytes'],
    ['disk_quota', metrics.diskQuotaBytes, 'bytes'],
    ['log_rate', metrics.logRateBytes, 'B/s'],
    ['log_rate_limit', metrics.logRateLimitBytes, 'B/s'],
  ]
}

function header(priority: number, timestamp: bigint, app: DrainedApp, process: string): string {
  const host = [app.organizationName, app.spaceName, app.appName].map(hostLabel).join('.')
  return `<${priority}>1 ${formatTime(timestamp)} ${host} ${app.appGuid} ${process} -`
}

const hostLabel = (name: string): string =>
  name
    .replace(/\s+/g, '-')
    .replace(/[^-a-zA-Z0-9]+/g, '')
    .replace(/-+$/, '')
    .slice(0, 63)

/** Microseconds without trailing zeros, and an offset of zero. */
function formatTime(timestamp: bigint): string {
  const seconds = new Date(Number(timestamp / 1_000_000_000n) * 1000).toISOString().slice(0, 19)
  const micros = ((timestamp % 1_000_000_000n) / 1000n).toString().padStart(6, '0').replace(/0+$/, '')
  return `${seconds}${micros === '' ? '' : `.${micros}`}+00:00`
}

function tagData(app: DrainedApp, own: Readonly<Record<string, string>>): string {
  const tags: Record<string, string> = {
    app_id: app.appGuid,
    app_name: app.appName,
    organization_id: app.organizationGuid,
    organization_name: app.organizationName,
    space_id: app.spaceGuid,
    space_name: app.spaceName,
    ...own,
  }
  const parameters = Object.entries(tags)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => `${name.replace(/[^!-~]|[="\]]/g, '_').slice(0, 32)}="${escaped(value)}"`)
  return `[tags@47450 ${parameters.join(' ')}]`
}

const escaped = (value: string): string => value.replace(/["\\\]]/g, (mark) => `\\${mark}`).replace(/[\r\n]+/g, ' ')

const parseNanoseconds = (text: string): bigint => (/^\d{1,19}$/.test(text) ? BigInt(text) : 0n)
