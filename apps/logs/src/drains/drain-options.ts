/** What of an app's envelopes a drain takes, as the parameters of its address say. */
export interface DrainOptions {
  readonly protocol: 'syslog' | 'syslog-tls' | 'https' | 'https-batch'
  readonly logs: boolean
  readonly metrics: boolean
  /** Requests, as the router timed them. */
  readonly traces: boolean
  /** False for the drains that want messages without structured data. */
  readonly metadata: boolean
  /** Whether lines of this source (APP/PROC/WEB, RTR, STG, …) are taken. */
  readonly takesSource: (sourceType: string) => boolean
}

const PROTOCOLS = ['syslog', 'syslog-tls', 'https', 'https-batch'] as const
const KNOWN_SOURCES = new Set(['API', 'STG', 'RTR', 'LGR', 'APP', 'SSH', 'CELL'])

/** Reads a drain's address with the parameters that Cloud Foundry's syslog agent knows; a string says what is wrong with it. */
export function parseDrainUrl(url: URL): DrainOptions | string {
  const protocol = PROTOCOLS.find((each) => `${each}:` === url.protocol)
  if (!protocol) return `its scheme must be one of ${PROTOCOLS.join(', ')}`
  if (url.hostname === '') return 'it names no host'
  const parameters = url.searchParams
  const include = sources(parameters.get('include-log-types'))
  const exclude = sources(parameters.get('exclude-log-types'))
  if (include && exclude) return 'include-log-types and exclude-log-types cannot be used at the same time'
  return {
    protocol,
    ...taken(parameters),
    metadata: (parameters.get('disable-metadata') ?? parameters.get('omit-metadata')) !== 'true',
    takesSource: (sourceType) => {
      const [kind = ''] = sourceType.split('/')
      // What is of no known kind is never filtered.
      if (!KNOWN_SOURCES.has(kind)) return true
      return include ? include.has(kind) : !exclude?.has(kind)
    },
  }
}

/** `drain-data` is the older parameter, and the stronger one; its `all` is more than that of `drain-type`. */
function taken(parameters: URLSearchParams): Taken {
  if (parameters.get('include-metrics-deprecated')) return EVERYTHING
  const data = BY_DATA[parameters.get('drain-data') ?? '']
  return data ?? BY_TYPE[parameters.get('drain-type') ?? ''] ?? LOGS
}

const LOGS = { logs: true, metrics: false, traces: false }
const METRICS = { logs: false, metrics: true, traces: false }
/** Cloud Foundry's agent knows them by `drain-data` alone; whoever asks for them by `drain-type` wants no logs either. */
const TRACES = { logs: false, metrics: false, traces: true }
const EVERYTHING = { logs: true, metrics: true, traces: true }
type Taken = Pick<DrainOptions, 'logs' | 'metrics' | 'traces'>
const BY_DATA: Readonly<Record<string, Taken>> = { logs: LOGS, metrics: METRICS, traces: TRACES, all: EVERYTHING }
const BY_TYPE: Readonly<Record<string, Taken>> = { metrics: METRICS, traces: TRACES, all: { ...LOGS, metrics: true } }

function sources(list: string | null): Set<string> | undefined {
  if (list === null || list === '') return undefined
  return new Set(list.split(',').map((each) => each.trim().toUpperCase()))
}
