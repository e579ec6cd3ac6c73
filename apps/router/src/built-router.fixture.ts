import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { createAuthority, issueServerCertificate, makeTestIdentity, saveNodeIdentity } from '@bloomery/pki'
import { FakeScheduler } from './fake-scheduler.fixture.js'
import { ControlClient } from './holder/control-socket.js'

const APP = fileURLToPath(new URL('..', import.meta.url))
const PACKAGES = join(APP, '../../packages')
export const ROUTER_PROGRAM = join(APP, 'dist/main.js')

/** Builds the router's programs, unless they are newer than all that they are made of. */
export async function buildRouter(): Promise<void> {
  const built = Math.min(...['main.js', 'worker.entry.js'].map((name) => changedAt(join(APP, 'dist', name))))
  const packages = readdirSync(PACKAGES).map((name) => join(PACKAGES, name, 'src'))
  if (built > Math.max(...[join(APP, 'src'), ...packages].map(newestBelow))) return
  await promisify(execFile)(process.execPath, [join(PACKAGES, 'tooling/src/build.mjs')], { cwd: APP })
}
const changedAt = (path: string): number => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0
function newestBelow(folder: string): number {
  if (changedAt(folder) === 0) return 0
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) =>
    /(?<!\.test|\.fixture)\.ts$/.test(name),
  )
  return Math.max(0, ...names.map((name) => changedAt(join(folder, name))))
}

/** The built router with a home of its own, fed by a scheduler that stands in for the platform's. Serves app.test by HTTPS, too. */
export class BuiltRouter {
  readonly #started = new Set<ChildProcess>()
  private constructor(
    readonly home: string,
    readonly env: NodeJS.ProcessEnv,
    readonly scheduler: FakeScheduler,
    readonly port: number,
    readonly httpsPort: number,
    /** Issues the certificate of app.test. */
    readonly ca: string,
  ) {}

  static async prepare(env: NodeJS.ProcessEnv = {}): Promise<BuiltRouter> {
    await buildRouter()
    const home = mkdtempSync(join(tmpdir(), 'bloomery-router-'))
    const router = await makeTestIdentity('router', { nodeId: 'main' })
    saveNodeIdentity(join(home, 'node'), router.identity)
    const scheduler = new FakeScheduler((await makeTestIdentity('scheduler', { authority: router.authority })).identity)
    const authority = await createAuthority({ name: 'test' })
    const certificate = await issueServerCertificate(authority, ['app.test'])
    mkdirSync(join(home, 'tls'))
    writeFileSync(join(home, 'tls/app.crt'), certificate.certificatePem)
    writeFileSync(join(home, 'tls/app.key'), certificate.privateKeyPem)
    const [port = 0, httpsPort = 0, unused = 0] = await freePorts(3)
    const settings = {
      PATH: process.env['PATH'],
      BLOOMERY_HOME: home,
      BLOOMERY_HTTP_PORT: String(port),
      BLOOMERY_HTTPS_PORT: String(httpsPort),
      BLOOMERY_NODE_DIR: join(home, 'node'),
      BLOOMERY_TLS_DIR: join(home, 'tls'),
      BLOOMERY_SCHEDULER_URL: await scheduler.listen(),
      BLOOMERY_LOGS_URL: `https://127.0.0.1:${unused}`,
      BLOOMERY_API_UPSTREAMS: `http://127.0.0.1:${unused}`,
      BLOOMERY_TCP_PORTS: 'none',
      ...env,
    }
    return new BuiltRouter(home, settings, scheduler, port, httpsPort, authority.certificatePem)
  }

  /** Resolves when it serves with the table of the present. */
  async start(): Promise<ChildProcess> {
    const holder = spawn(process.execPath, [ROUTER_PROGRAM], { env: this.env, stdio: ['ignore', 'ignore', 'pipe'] })
    this.#started.add(holder)
    let text = ''
    holder.stderr.on('data', (chunk: Buffer) => (text += chunk.toString()))
    await eventually(() => {
      if (!text.includes('router serves')) throw new Error(`the router does not serve: ${text}`)
    }, 30_000)
    return holder
  }

  /** Pids by slot. */
  async workers(): Promise<Record<string, number>> {
    const client = await ControlClient.connect(join(this.home, 'run/router'), 'holder.sock')
    const status = (await client?.ask({ do: 'status' })) as { workers: Record<string, number> } | undefined
    client?.close()
    return Object.fromEntries(Object.entries(status?.workers ?? {}).sort())
  }

  async close(): Promise<void> {
    for (const holder of this.#started) {
      holder.kill('SIGTERM')
      await exited(holder)
    }
    for (const pid of processesOf(this.home)) process.kill(pid, 'SIGKILL')
    await this.scheduler.close()
    rmSync(this.home, { recursive: true, force: true })
  }
}

/** Processes that name this data folder. */
export const processesOf = (home: string): number[] =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/environ`, 'utf8').includes(`BLOOMERY_HOME=${home}\0`)
      } catch {
        return false
      }
    })
    .map(Number)

/** Resident memory of a process at present and at its highest, in MiB. */
export function memoryOf(pid: number): { readonly now: number; readonly highest: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const mib = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? 0) / 1024
  return { now: mib('VmRSS'), highest: mib('VmHWM') }
}

export const exited = async (child: ChildProcess): Promise<void> => {
  if (child.exitCode === null && child.signalCode === null) await new Promise((resolve) => child.once('exit', resolve))
}

/** Resolves with what the attempt gives once it throws no more. */
export async function eventually<T>(attempt: () => T, timeoutMs = 10_000): Promise<Awaited<T>> {
  const deadline = Date.now() + timeoutMs
  for (;;) {
    try {
      return await attempt()
    } catch (error) {
      if (Date.now() > deadline) throw error
      await delay(25)
    }
  }
}

export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer()
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
      return server
    }),
  )
  const ports = servers.map((server) => (server.address() as AddressInfo).port)
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  return ports
}
