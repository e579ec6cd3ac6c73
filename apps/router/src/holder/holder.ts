import { createHash } from 'node:crypto'
import { readdirSync, statSync, mkdirSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { ConfigError } from '@bloomery/config'
import type { Logger } from '@bloomery/telemetry'
import { z } from 'zod'
import type { RouterConfig } from '../config.js'
import { serveMetrics } from '../metrics/metrics-server.js'
import { RouterFigures } from '../metrics/router-metrics.js'
import { ControlClient, ControlServer, type Ask } from './control-socket.js'
import { bindSocket, type BoundSocket } from './listening-sockets.js'
import { spawnWorker, type WorkerSpec } from './spawn-worker.js'
import { WorkerStatus } from './worker-status.js'

const START_TIMEOUT_MS = 15_000
const STEP_DOWN_TIMEOUT_MS = 5_000
const WATCH_EVERY_MS = 5_000
/** A worker that has not answered for so long hangs, and is ended. */
const HANGS_AFTER_MS = 15_000
/** A worker that lived this long is replaced at once; one that did not, after a pause. */
const LONG_LIFE_MS = 10_000
const PAUSE_MS = { first: 100, most: 5_000 }
/** What is left of the stop after the workers' own time to drain. */
const STOP_GRACE_MS = 1_000

export interface HolderOptions {
  readonly config: RouterConfig
  /** Handed to the workers. */
  readonly env: NodeJS.ProcessEnv
  readonly workerScript: string
  readonly execArgv: readonly string[]
  readonly log: Logger
}

interface LiveWorker {
  readonly client: ControlClient
  readonly status: WorkerStatus
  readonly since: number
}

/**
 * Keeps the workers alive. It holds the bound sockets and accepts nothing itself, so its death costs no connection; the workers
 * outlive it, and the next holder takes them over: it finds them by their control sockets and lets one of them start others,
 * with the sockets they share. A worker of an older program or configuration is replaced by a new one before it drains.
 */
export class Holder {
  readonly #options: HolderOptions
  readonly #generation: string
  readonly #workers = new Map<string, LiveWorker>()
  #sockets: { http: BoundSocket; https: BoundSocket; tcp: readonly BoundSocket[] } | undefined
  #control: ControlServer | undefined
  #watch: NodeJS.Timeout | undefined
  #metrics: { close(): void } | undefined
  #closing = false
  #resign: () => void = () => undefined
  /** Resolves when a newer holder has taken over. */
  readonly succeeded = new Promise<void>((resolve) => (this.#resign = resolve))

  private constructor(options: HolderOptions) {
    this.#options = options
    this.#generation = generationOf(options)
  }

  static async start(options: HolderOptions): Promise<Holder> {
    const holder = new Holder(options)
    try {
      await holder.#start()
      return holder
    } catch (error) {
      await holder.close()
      throw error
    }
  }

  /** Pids of the workers, by slot. */
  get workers(): ReadonlyMap<string, number> {
    return new Map([...this.#workers].map(([slot, { status }]) => [slot, status.pid]))
  }

  /** Ends all workers: they drain, and whoever is not done in time is cut off. */
  async close(): Promise<void> {
    if (this.#closing) return
    this.#letGo()
    await Promise.all([...this.#workers.values()].map((worker) => this.#end(worker)))
    this.#closeSockets()
  }

  async #start(): Promise<void> {
    const { config, log } = this.#options
    mkdirSync(config.paths.run, { recursive: true, mode: 0o700 })
    await this.#succeed()
    this.#control = await ControlServer.listen(config.paths.run, 'holder.sock', (ask) => this.#answer(ask))
    const found = await this.#findWorkers()
    const sharing = found.filter(({ status }) => this.#sharesListeners(status))
    const strangers = found.filter((worker) => !sharing.includes(worker))
    // Other ports for TCP routes on the same public ones: nobody can be given both, so the old workers end first.
    const inTheWay = sharing.length === 0 ? strangers.filter(({ status }) => this.#holdsPublicPorts(status)) : []
    await Promise.all(inTheWay.map((worker) => this.#end(worker)))
    if (sharing.length === 0) this.#bind()
    // Without sockets of its own this holder needs a worker to start another with: of one alone the death would lose them.
    const count = this.#sockets ? config.workers : Math.max(config.workers, 2)
    const slots = Array.from({ length: count }, (_, i) => `w${i}`)
    for (const worker of sharing) this.#workers.set(worker.status.slot, worker)
    // Strangers hold slots' names; they serve on until their successors do.
    const present = strangers.filter((worker) => !inTheWay.includes(worker))
    await Promise.all(present.map(({ client }) => client.ask({ do: 'release' })))
    const outcomes = await Promise.allSettled(slots.map((slot) => this.#fill(slot)))
    const failed = outcomes.filter((outcome) => outcome.status === 'rejected')
    if (failed.length === slots.length)
      throw new Error(`No router worker starts; see ${config.paths.logFile}.`, { cause: failed[0]?.reason })
    const surplus = sharing.filter(({ status }) => !slots.includes(status.slot))
    for (const { status } of surplus) this.#workers.delete(status.slot)
    for (const worker of [...present, ...surplus]) void this.#retire(worker)
    this.#watch = setInterval(() => this.#lookAfterAll(), WATCH_EVERY_MS)
    await this.#serveMetrics()
    log.info(
      {
        bind: config.bind,
        httpPort: config.httpPort,
        httpsPort: config.httpsPort,
        adopted: sharing.length,
        workers: [...this.workers.values()],
      },
      'router serves',
    )
  }

  /** A holder that is still there lets go; the workers notice nothing. */
  async #succeed(): Promise<void> {
    const previous = await ControlClient.connect(this.#options.config.paths.run, 'holder.sock')
    if (!previous) return
    await previous.ask({ do: 'step-down' })
    await Promise.race([previous.closed, delay(STEP_DOWN_TIMEOUT_MS)])
    previous.close()
    this.#options.log.info('took over from another holder')
  }

  async #answer(ask: Ask): Promise<unknown> {
    if (ask.do === 'status') return { generation: this.#generation, workers: Object.fromEntries(this.workers) }
    if (ask.do !== 'step-down') throw new Error(`unknown question '${ask.do}'`)
    this.#letGo()
    for (const { client } of this.#workers.values()) client.close()
    this.#workers.clear()
    this.#closeSockets()
    setImmediate(this.#resign)
    return {}
  }

  #letGo(): void {
    this.#closing = true
    clearInterval(this.#watch)
    this.#metrics?.close()
    this.#control?.release()
  }

  async #findWorkers(): Promise<LiveWorker[]> {
    const { run } = this.#options.config.paths
    const names = readdirSync(run).filter((name) => /^w\d+\.sock$/.test(name))
    const found = await Promise.all(names.map((name) => this.#connect(name.replace(/\.sock$/, ''))))
    return found.filter((worker) => worker !== undefined)
  }

  /** undefined: nobody serves there. */
  async #connect(slot: string): Promise<LiveWorker | undefined> {
    const client = await ControlClient.connect(this.#options.config.paths.run, `${slot}.sock`)
    if (!client) return undefined
    try {
      const status = WorkerStatus.parse(await client.ask({ do: 'status' }))
      return { client, status, since: Date.now() }
    } catch (error) {
      client.close()
      throw new Error(`The worker ${slot} does not answer on its control socket; end it and start again.`, { cause: error })
    }
  }

  #holdsPublicPorts({ listeners }: WorkerStatus): boolean {
    const { bind, httpPort, httpsPort } = this.#options.config
    return listeners.bind === bind && listeners.httpPort === httpPort && listeners.httpsPort === httpsPort
  }

  #sharesListeners(status: WorkerStatus): boolean {
    return this.#holdsPublicPorts(status) && status.listeners.tcpPorts === this.#options.config.tcpPorts.text
  }

  #bind(): void {
    const { bind, httpPort, httpsPort } = this.#options.config
    const http = bindSocket(bind, httpPort, 'BLOOMERY_HTTP_PORT')
    try {
      this.#sockets = { http, https: bindSocket(bind, httpsPort, 'BLOOMERY_HTTPS_PORT'), tcp: this.#bindTcp() }
    } catch (error) {
      http.close()
      throw error
    }
  }

  /** A port that another program has costs the routes on it, not the start. */
  #bindTcp(): readonly BoundSocket[] {
    const { tcpBind, tcpPorts } = this.#options.config
    return tcpPorts.ports.flatMap((port) => {
      try {
        return [bindSocket(tcpBind, port, 'BLOOMERY_TCP_PORTS')]
      } catch (error) {
        if (!(error instanceof ConfigError)) throw error
        this.#options.log.warn(
          { port, reason: error.message },
          'a port for TCP routes cannot be had; routes on it are not served',
        )
        return []
      }
    })
  }

  #closeSockets(): void {
    this.#sockets?.http.close()
    this.#sockets?.https.close()
    for (const socket of this.#sockets?.tcp ?? []) socket.close()
  }

  /** Sees to it that the slot has a worker of this generation. */
  async #fill(slot: string): Promise<void> {
    const present = this.#workers.get(slot)
    if (present?.status.generation === this.#generation) return this.#supervise(present)
    if (!present) return this.#supervise(await this.#startWorker(slot))
    await present.client.ask({ do: 'release' })
    this.#supervise(await this.#startWorker(slot))
    void this.#retire(present)
  }

  #supervise(worker: LiveWorker, failures = 0): void {
    const { slot, pid } = worker.status
    this.#workers.set(slot, worker)
    void worker.client.closed.then(() => {
      if (this.#closing || this.#workers.get(slot) !== worker) return
      this.#workers.delete(slot)
      this.#options.log.warn({ slot, pid }, 'a worker ended; another takes its place')
      void this.#replace(slot, Date.now() - worker.since > LONG_LIFE_MS ? 0 : failures + 1)
    })
  }

  async #replace(slot: string, failures: number): Promise<void> {
    if (failures > 1) await delay(Math.min(PAUSE_MS.first * 2 ** failures, PAUSE_MS.most))
    if (this.#closing) return
    try {
      this.#supervise(await this.#startWorker(slot), failures)
    } catch (error) {
      this.#options.log.error({ err: error, slot }, 'a worker does not start; trying again')
      void this.#replace(slot, failures + 1)
    }
  }

  async #startWorker(slot: string): Promise<LiveWorker> {
    const pid = await this.#spawn(slot)
    const deadline = Date.now() + START_TIMEOUT_MS
    for (;;) {
      const worker = await this.#connect(slot)
      if (worker) {
        // The stop may have begun meanwhile, and knows nothing of this one.
        if (this.#closing) void this.#end(worker)
        return worker
      }
      if (!isAlive(pid)) throw new Error(`The worker ${slot} ended while it started; see ${this.#options.config.paths.logFile}.`)
      if (Date.now() > deadline) {
        kill(pid)
        throw new Error(`The worker ${slot} was not ready in time; see ${this.#options.config.paths.logFile}.`)
      }
      await delay(25)
    }
  }

  /** By our own sockets, else by a worker that shares its own; only when there is none, the addresses are bound anew. */
  async #spawn(slot: string): Promise<number> {
    const spec = this.#specOf(slot)
    if (!this.#sockets) {
      for (const { client } of this.#workers.values()) {
        try {
          return z.object({ pid: z.number() }).parse(await client.ask({ do: 'spawn', spec })).pid
        } catch (error) {
          this.#options.log.warn({ err: error }, 'a worker could not start its sibling')
        }
      }
      this.#bind()
    }
    if (!this.#sockets) throw new Error('no listening sockets')
    const { http, https, tcp } = this.#sockets
    return spawnWorker(spec, { httpFd: http.fd, httpsFd: https.fd, tcp })
  }

  #specOf(slot: string): WorkerSpec {
    const { env, workerScript, execArgv, config } = this.#options
    const given = Object.entries(env).filter((entry): entry is [string, string] => entry[1] !== undefined)
    return {
      slot,
      generation: this.#generation,
      script: workerScript,
      execArgv: [...execArgv],
      // The text as it was read, and understood: whatever has become of the file, a worker can be started.
      env: {
        ...Object.fromEntries(given),
        ...(config.errorTemplate === undefined ? {} : { BLOOMERY_ROUTER_ERROR_TEMPLATE: config.errorTemplate }),
      },
      logFile: config.paths.logFile,
    }
  }

  /** Traffic does not hang on it: a port that is taken costs the metrics alone. */
  async #serveMetrics(): Promise<void> {
    const { config, log } = this.#options
    if (!config.metrics) return
    try {
      this.#metrics = await serveMetrics({ ...config.metrics, figures: () => this.#figures(), log })
    } catch (error) {
      log.error({ err: error }, 'the metrics cannot be served; set BLOOMERY_ROUTER_METRICS_LISTEN to a free address')
    }
  }

  async #figures(): Promise<RouterFigures[]> {
    const asked = [...this.#workers.values()].map(async ({ client }) => RouterFigures.parse(await client.ask({ do: 'figures' })))
    const answers = await Promise.allSettled(asked)
    return answers.flatMap((answer) => (answer.status === 'fulfilled' ? [answer.value] : []))
  }

  #lookAfterAll(): void {
    for (const { client, status } of this.#workers.values()) {
      client.ask({ do: 'status' }, HANGS_AFTER_MS).catch((error: unknown) => {
        if (this.#closing || this.#workers.get(status.slot)?.status.pid !== status.pid) return
        this.#options.log.error({ err: error, slot: status.slot, pid: status.pid }, 'a worker hangs and is ended')
        kill(status.pid)
      })
    }
  }

  /** Ends a worker that others have taken over from; idle clients have the time to come back once more and be sent to those. */
  #retire(worker: LiveWorker): Promise<void> {
    return this.#end(worker, this.#options.config.drainTimeoutMs / 2)
  }

  async #end({ client, status }: LiveWorker, idleGraceMs?: number): Promise<void> {
    const { drainWaitMs, drainTimeoutMs } = this.#options.config
    try {
      await client.ask({ do: 'drain', idleGraceMs })
    } catch (error) {
      this.#options.log.debug({ err: error, slot: status.slot }, 'a worker did not take the word to drain')
    }
    const deadline = Date.now() + drainWaitMs + drainTimeoutMs + STOP_GRACE_MS
    while (isAlive(status.pid) && Date.now() < deadline) await delay(25)
    if (isAlive(status.pid)) kill(status.pid)
    client.close()
  }
}

const bigIntAsText = (_key: string, value: unknown): unknown => (typeof value === 'bigint' ? String(value) : value)

/** The same program with the same configuration has the same generation. */
function generationOf({ config, workerScript, execArgv }: HolderOptions): string {
  const { mtimeMs, size } = statSync(workerScript)
  return createHash('sha256')
    .update(JSON.stringify([config, execArgv, process.version, mtimeMs, size], bigIntAsText))
    .digest('hex')
    .slice(0, 16)
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It is gone already, which is what was wanted.
  }
}
