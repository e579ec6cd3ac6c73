import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { startPostgres, startRedis, type EmbeddedServer } from '@bloomery/embedded'
import { runProgram } from './child-program.js'
import { dockerDaemonWard } from './docker-engine.js'
import { chooseEngine, type EngineChoice } from './engine-choice.js'
import { EventLog } from './event-log.js'
import type { Home } from './home.js'
import { explain } from './launch-error.js'
import { LogTurnover } from './log-turnover.js'
import { internalPorts, requirePublicPorts, routerWorkersServe, tcpRoutePorts } from './ports.js'
import { runSteps, type Step } from './progress.js'
import { untilReady } from './readiness.js'
import { RoleProcess, runsFromBefore } from './role-process.js'
import { repositoryPath, rolePrograms } from './roles.js'
import type { Settings } from './settings.js'
import { Supervisor } from './supervisor.js'

const READY_TIMEOUT_MS = 240_000
const APP_GRACE_SECONDS = 10

/** What became of examples/hello-node. */
export interface Sample {
  readonly pushed: boolean
  /** Why it could not be pushed in this start. */
  readonly failure: string | undefined
}

/** The platform on one machine. Every process it starts outlives it if it is killed, and is taken over by the next start. */
export class Launcher {
  readonly #settings: Settings
  readonly #stopping = new AbortController()
  readonly #supervisor: Supervisor
  readonly #logTurnover: LogTurnover
  #home: Home | undefined
  #engine: EngineChoice = { kind: 'docker' }
  #roles: RoleProcess[] = []
  #roleEnvironment: Readonly<Record<string, string>> = {}
  #databaseUrl = ''
  #brokerPort = 0
  #redisUrl = ''
  #tookOver = false
  #sampleFailure: string | undefined
  #starting: Promise<void> = Promise.resolve()

  constructor(settings: Settings) {
    this.#settings = settings
    // Not on the terminal: that shows steps and addresses.
    this.#supervisor = new Supervisor(new EventLog(join(settings.paths.roleLogs, 'launcher.log')))
    this.#logTurnover = new LogTurnover(settings.paths.roleLogs)
  }

  /** True once it looks after roles that an earlier launcher started. */
  get tookOver(): boolean {
    return this.#tookOver
  }

  get sample(): Sample {
    return { pushed: existsSync(this.#sampleMark), failure: this.#sampleFailure }
  }

  get engine(): EngineChoice {
    return this.#engine
  }

  start(home: Home): Promise<void> {
    this.#home = home
    this.#stopping.signal.throwIfAborted()
    this.#starting = runSteps(this.#steps(home), this.#settings.interactive)
    return this.#starting
  }

  #steps(home: Home): Step[][] {
    const { paths } = this.#settings
    const shared = { home: paths.home, installationId: home.installationId }
    const database: Step = {
      title: 'Database',
      run: async () => {
        this.#databaseUrl =
          this.#settings.DATABASE_URL ??
          (await this.#keep('postgres', () => startPostgres({ ...shared, logFile: join(paths.roleLogs, 'postgres.log') })))
      },
    }
    const redis: Step = {
      title: 'Redis',
      run: async () => {
        this.#redisUrl =
          this.#settings.REDIS_URL ??
          (await this.#keep('redis', () => startRedis({ ...shared, logFile: join(paths.roleLogs, 'redis.log') })))
      },
    }
    const engine: Step = {
      title: 'Container engine and stack image',
      run: async (say) => {
        if (this.#engine.kind !== 'docker') return
        const daemon = dockerDaemonWard(this.#settings)
        if (daemon) await this.#supervisor.add(daemon)
        await this.#buildStack(say)
      },
    }
    const roles: Step = { title: 'Roles', run: (say) => this.#startRoles(home, say) }
    const sample: Step = { title: 'Sample app', run: (say) => this.#trySample(say) }
    const services: Step = { title: 'Service broker', run: (say) => this.#registerBroker(say) }
    const last = [...(this.#settings.BLOOMERY_BROKER === 'on' ? [services] : []), ...(this.#wantsSample() ? [sample] : [])]
    return [[database, redis, engine], [roles], ...(last.length > 0 ? [last] : [])]
  }

  /** Ports and engine, before anything is drawn or started: it may refuse, and it may ask. */
  async prepare(say: (line: string) => void): Promise<void> {
    const { paths, BLOOMERY_BIND, BLOOMERY_HTTP_PORT, BLOOMERY_HTTPS_PORT } = this.#settings
    if (!runsFromBefore(paths.run, 'router') && !(await routerWorkersServe(paths.run)))
      await requirePublicPorts(BLOOMERY_BIND, [
        { name: 'BLOOMERY_HTTP_PORT', port: BLOOMERY_HTTP_PORT },
        { name: 'BLOOMERY_HTTPS_PORT', port: BLOOMERY_HTTPS_PORT },
      ])
    this.#engine = await chooseEngine(this.#settings, say)
  }

  /** Keeps a server of ours running; its address stays the same over restarts. */
  async #keep(name: string, start: () => Promise<EmbeddedServer>): Promise<string> {
    let running = await start()
    let first = true
    await this.#supervisor.add({
      name,
      ensure: async () => {
        if (!first) running = await start()
        first = false
        return running
      },
      stop: () => running.stop(),
    })
    return running.url
  }

  async #buildStack(say: (line: string) => void): Promise<void> {
    await runProgram({
      program: repositoryPath('stacks/build.mjs'),
      args: ['--image', this.#settings.BLOOMERY_STACK_IMAGE],
      env: process.env,
      onLine: (line) => {
        // The build's own output is for its failure; of its steps the numbers are told.
        const [, step] = /^ {2}Step (\d+\/\d+)/.exec(line) ?? []
        if (step !== undefined) say(`step ${step}`)
        else if (!line.startsWith('  ')) say(line)
      },
      timeoutMs: 30 * 60_000,
      what: 'Building the stack image',
      signal: this.#stopping.signal,
    })
  }

  async #startRoles(home: Home, say: (line: string) => void): Promise<void> {
    const { paths, BLOOMERY_BIND: bind } = this.#settings
    const inUse = ['control', 'cell', 'router'].some((name) => runsFromBefore(paths.run, name))
    const ports = await internalPorts(join(paths.run, 'ports.json'), inUse)
    this.#brokerPort = ports.broker
    const programs = rolePrograms({
      settings: this.#settings,
      installationId: home.installationId,
      engine: this.#engine.kind,
      ports,
      tcpPorts: this.#settings.BLOOMERY_TCP_PORTS ?? (await tcpRoutePorts(join(paths.home, 'tcp-ports.json'), bind)),
      databaseUrl: this.#databaseUrl,
      redisUrl: this.#redisUrl,
    })
    this.#roleEnvironment = programs.cell.env
    this.#roles = [programs.control, programs.cell, programs.router].map(
      (program) => new RoleProcess(program, { run: paths.run, logs: paths.roleLogs }),
    )
    await this.#leaveOtherEngine(say)
    for (const role of this.#roles) {
      const { adopted } = await this.#supervisor.add(role)
      if (!adopted) continue
      this.#tookOver = true
      say(`${role.name} ran on and is taken over`)
    }
    await untilReady({
      port: this.#settings.BLOOMERY_HTTP_PORT,
      host: reachable(bind),
      roles: this.#roles,
      timeoutMs: READY_TIMEOUT_MS,
      say,
      signal: this.#stopping.signal,
    })
    this.#logTurnover.start()
  }

  get #sampleMark(): string {
    return join(this.#settings.paths.home, 'sample-pushed')
  }

  #wantsSample(): boolean {
    return this.#settings.BLOOMERY_SAMPLE === 'yes' && !existsSync(this.#sampleMark)
  }

  /** A platform that runs is worth more than its sample: what went wrong is told with the greeting. */
  async #trySample(say: (line: string) => void): Promise<void> {
    try {
      await this.#pushSample(say)
    } catch (error) {
      this.#stopping.signal.throwIfAborted()
      this.#sampleFailure = explain(error)
    }
  }

  /** Once: who deletes the sample does not want it back. */
  async #pushSample(say: (line: string) => void): Promise<void> {
    await runProgram({
      program: repositoryPath('apps/bloomery/dist/push-sample.entry.js'),
      env: {
        ...this.#settings.inherited,
        BLOOMERY_API: `http://${reachable(this.#settings.BLOOMERY_BIND)}:${this.#settings.BLOOMERY_HTTP_PORT}`,
        BLOOMERY_ADMIN_PASSWORD: this.#home?.adminPassword,
        BLOOMERY_SAMPLE_FOLDER: repositoryPath('examples/hello-node'),
      },
      onLine: say,
      timeoutMs: 10 * 60_000,
      what: 'Pushing the sample app',
      signal: this.#stopping.signal,
    })
    writeFileSync(this.#sampleMark, '')
  }

  /** Leaves all that runs to the next start. */
  async leave(): Promise<void> {
    this.#stopping.abort()
    this.#logTurnover.stop()
    await this.#supervisor.release()
  }

  /**
   * Ends all that runs here: no new requests, then the apps with their grace time, the roles, the servers. Data stays. Safe to
   * call while starting.
   */
  async stop(say: (line: string) => void): Promise<void> {
    this.#stopping.abort()
    await this.#starting.catch(() => undefined)
    this.#logTurnover.stop()
    await this.#supervisor.release()
    // Roles before apps: they would tell of crashes, and start again what we stop.
    await this.#supervisor.stop(['router', 'cell', 'control'])
    if (this.#roles.length > 0) say('Stopping apps')
    const apps = this.#roles.length > 0 ? this.#stopApps() : Promise.resolve()
    // Apps may still want their databases while they end. Whatever becomes of either, nothing else stays.
    await apps.finally(() => this.#stopServices(say)).finally(() => this.#supervisor.stop(['redis', 'postgres', 'dockerd']))
  }

  /** After a crash apps may run on in the engine of that start; this one would neither see nor stop them. */
  async #leaveOtherEngine(say: (line: string) => void): Promise<void> {
    const mark = join(this.#settings.paths.run, 'engine')
    const before = existsSync(mark) ? readFileSync(mark, 'utf8').trim() : this.#engine.kind
    if (before !== this.#engine.kind) {
      say(`the engine was ${before} before; what still runs there ends`)
      // The router has its table, and no part in engines.
      await Promise.all(this.#roles.filter(({ name }) => name !== 'router').map((role) => role.stop()))
      await this.#stopApps(before)
    }
    writeFileSync(mark, `${this.#engine.kind}\n`)
  }

  /** A platform that runs is worth more than its service offerings: what went wrong is in the launcher's log. */
  async #registerBroker(say: (line: string) => void): Promise<void> {
    const { paths, BLOOMERY_BIND, BLOOMERY_HTTP_PORT, inherited } = this.#settings
    try {
      await runProgram({
        program: repositoryPath('apps/bloomery/dist/register-broker.entry.js'),
        env: {
          ...inherited,
          BLOOMERY_API: `http://${reachable(BLOOMERY_BIND)}:${BLOOMERY_HTTP_PORT}`,
          BLOOMERY_ADMIN_PASSWORD: this.#home?.adminPassword,
          BLOOMERY_HOME: paths.home,
          BLOOMERY_BROKER_URL: `http://127.0.0.1:${this.#brokerPort}`,
          BLOOMERY_BROKER_PASSWORD_FILE: paths.brokerPassword,
        },
        onLine: say,
        timeoutMs: 2 * 60_000,
        what: 'Registering the service broker',
        signal: this.#stopping.signal,
      })
    } catch (error) {
      this.#stopping.signal.throwIfAborted()
      this.#supervisor.log.write('the service broker could not be registered; the next start tries again', {
        reason: explain(error),
      })
      say("could not be registered; the launcher's log says why")
    }
  }

  async #stopServices(say: (line: string) => void): Promise<void> {
    const { paths } = this.#settings
    const folder = join(paths.run, 'services')
    if (!existsSync(folder) || readdirSync(folder).length === 0) return
    say('Stopping database servers')
    await runProgram({
      program: repositoryPath('apps/broker/dist/stop-servers.entry.js'),
      env: { ...this.#settings.inherited, ...this.#roleEnvironment, BLOOMERY_HOME: paths.home },
      timeoutMs: 60_000,
      what: 'Stopping the database servers',
    })
  }

  async #stopApps(engine: string = this.#engine.kind): Promise<void> {
    await runProgram({
      program: repositoryPath('apps/bloomery/dist/stop-apps.entry.js'),
      env: { ...this.#roleEnvironment, BLOOMERY_ENGINE: engine, BLOOMERY_APP_GRACE_SECONDS: String(APP_GRACE_SECONDS) },
      timeoutMs: (APP_GRACE_SECONDS + 20) * 1000,
      what: 'Stopping the apps',
    })
  }
}

/** An address under which this machine reaches its own listener. */
export const reachable = (bind: string): string => (bind === '0.0.0.0' ? '127.0.0.1' : bind === '::' ? '::1' : bind)
