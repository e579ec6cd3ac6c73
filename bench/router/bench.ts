import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createInternalServer } from '@bloomery/feeds'
import { makeTestIdentity, saveNodeIdentity } from '@bloomery/pki'
import { anEndpoint, aRoute, FakeScheduler } from '../../apps/router/src/fake-scheduler.fixture.js'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const COMPARE = join(ROOT, 'bench/router/compare.mjs')
const ROUTER = join(ROOT, 'apps/router/dist/main.js')
const NAME = 'bloomery'

interface Row {
  readonly scenario: string
  readonly subject: string
  readonly rps: number
  readonly mibps: number
  readonly p50: number
  readonly p99: number
  readonly cpu: number | null
  readonly rss: number | null
  readonly pss: number | null
  readonly errors: number
  readonly badStatus: number
  readonly noise: number
}

/**
 * The router against others on one machine: its built entry with production defaults (a worker for each processor, every feature, both access
 * logs), fed by a scheduler over mutual TLS, its log lines taken by a log store. Options of compare.mjs pass through.
 */
export async function run() {
  const home = mkdtempSync(join(tmpdir(), 'bloomery-bench-router-'))
  const router = await makeTestIdentity('router', { nodeId: 'main' })
  const { authority } = router
  const scheduler = new FakeScheduler((await makeTestIdentity('scheduler', { authority })).identity)
  const logs = createInternalServer((await makeTestIdentity('logs', { authority })).identity, (request, response) => {
    request.resume().once('end', () => response.writeHead(204).end())
  })
  try {
    saveNodeIdentity(join(home, 'node'), router.identity)
    const schedulerUrl = await scheduler.listen()
    await new Promise<void>((resolve) => logs.listen(0, '127.0.0.1', resolve))
    const options = passedThrough()
    const loadCore = valueOf(options, '--load-core') ?? '0'
    // What stands for the rest of the platform stays off the router's core.
    if (loadCore !== 'none') execFileSync('taskset', ['-apc', loadCore, String(process.pid)], { stdio: 'ignore' })
    const backend = Number(valueOf(options, '--backend-port') ?? 19_001)
    scheduler.publish(
      aRoute(valueOf(options, '--app-host') ?? 'app.example.test', [anEndpoint({ port: backend })]),
      aRoute(valueOf(options, '--upload-host') ?? 'upload.example.test', [anEndpoint({ port: backend + 1 })]),
    )
    const [http = 0, https = 0] = await freePorts(2)
    const json = join(home, 'rows.json')
    await compare({
      options: [...options, '--json', json, '--spawn', `name=${NAME},port=${http},tls=${https},cmd=${startCommand()}`],
      env: {
        BLOOMERY_HOME: home,
        BLOOMERY_HTTP_PORT: String(http),
        BLOOMERY_HTTPS_PORT: String(https),
        BLOOMERY_NODE_DIR: join(home, 'node'),
        BLOOMERY_SCHEDULER_URL: schedulerUrl,
        BLOOMERY_LOGS_URL: `https://127.0.0.1:${(logs.address() as AddressInfo).port}`,
        BLOOMERY_API_UPSTREAMS: `http://127.0.0.1:${https}`,
        BLOOMERY_TCP_PORTS: 'none',
      },
    })
    return { options, ...summarize((JSON.parse(readFileSync(json, 'utf8')) as { rows: Row[] }).rows) }
  } finally {
    await scheduler.close()
    logs.closeAllConnections()
    logs.close()
    rmSync(home, { recursive: true, force: true })
  }
}

/** The router takes its certificates from a folder; the harness has made one for all subjects. */
const startCommand = (): string =>
  `sh -c 'mkdir -p $BLOOMERY_HOME/tls; cp $TLS_CERTIFICATE $BLOOMERY_HOME/tls/bench.crt; cp $TLS_KEY $BLOOMERY_HOME/tls/bench.key; BLOOMERY_TLS_DIR=$BLOOMERY_HOME/tls exec ${process.execPath} ${ROUTER}'`

/** What follows the bench's name, but where the results shall go. */
function passedThrough(): string[] {
  const given = process.argv.slice(3)
  const json = given.indexOf('--json')
  return json === -1 ? given : [...given.slice(0, json), ...given.slice(json + 2)]
}

const valueOf = (options: readonly string[], name: string): string | undefined => {
  const at = options.indexOf(name)
  return at === -1 ? undefined : options[at + 1]
}

async function compare(what: { readonly options: readonly string[]; readonly env: NodeJS.ProcessEnv }): Promise<void> {
  const child = spawn(process.execPath, [COMPARE, ...what.options], { stdio: 'inherit', env: { ...process.env, ...what.env } })
  const code = await new Promise((resolve) => child.once('close', resolve))
  if (code !== 0) throw new Error(`the comparison ended with ${String(code)}`)
}

async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'))
  await Promise.all(servers.map((server) => new Promise((resolve) => server.once('listening', resolve))))
  const ports = servers.map((server) => (server.address() as AddressInfo).port)
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  return ports
}

const median = (values: readonly (number | null)[]): number => {
  const sorted = values.filter((value) => value !== null).sort((a, b) => a - b)
  return Math.round((sorted[Math.floor(sorted.length / 2)] ?? Number.NaN) * 1000) / 1000
}

/** Medians of each subject in each scenario, and what the router's are in relation to the others'. */
function summarize(rows: readonly Row[]) {
  const scenarios = [...new Set(rows.map(({ scenario }) => scenario))]
  const of = (scenario: string, subject: string) => {
    const found = rows.filter((row) => row.scenario === scenario && row.subject === subject)
    return {
      requestsPerSecond: median(found.map(({ rps }) => rps)),
      requestsPerCpuSecond: median(found.map(({ rps, cpu }) => (cpu ? rps / cpu : null))),
      mibPerSecond: median(found.map(({ mibps }) => mibps)),
      p50Ms: median(found.map(({ p50 }) => p50)),
      p99Ms: median(found.map(({ p99 }) => p99)),
      cpuCores: median(found.map(({ cpu }) => cpu)),
      rssMb: median(found.map(({ rss }) => rss)),
      pssMb: median(found.map(({ pss }) => pss)),
      errors: found.reduce((sum, { errors, badStatus }) => sum + errors + badStatus, 0),
      rounds: found.length,
      noisiest: Math.max(...found.map(({ noise }) => noise)),
    }
  }
  const subjects = [...new Set(rows.map(({ subject }) => subject))]
  return {
    medians: Object.fromEntries(
      scenarios.map((scenario) => [scenario, Object.fromEntries(subjects.map((subject) => [subject, of(scenario, subject)]))]),
    ),
    ratios: Object.fromEntries(
      scenarios.map((scenario) => {
        const ours = of(scenario, NAME)
        return [
          scenario,
          Object.fromEntries(
            subjects
              .filter((subject) => subject !== NAME)
              .map((subject) => {
                const other = of(scenario, subject)
                return [
                  subject,
                  {
                    requests: median([ours.requestsPerSecond / other.requestsPerSecond]),
                    perCpu: median([ours.requestsPerCpuSecond / other.requestsPerCpuSecond]),
                    p99: median([ours.p99Ms / other.p99Ms]),
                  },
                ]
              }),
          ),
        ]
      }),
    ),
  }
}
