import { execFileSync } from 'node:child_process'
import { createServer, connect, type Server, type Socket } from 'node:net'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { WantedInstance } from '@bloomery/contracts'
import { buildCell, CellProcess } from './cell-process.fixture.js'
import { CellUnderTest, eventually, hasStackImage } from './cell-under-test.fixture.js'

const COUNTING = { COUNT: '4000', VCAP_APPLICATION: '{}' }
const counted = (texts: readonly string[]) => texts.filter((text) => text.startsWith('line '))
const startedAt = (ids: readonly string[]) =>
  execFileSync('docker', ['inspect', '-f', '{{.Id}} {{.State.StartedAt}}', ...ids], { encoding: 'utf8' })

/** Stands between the agent and its engine, and can be taken away without touching the engine itself. */
class EngineSocket {
  private server: Server | undefined
  private readonly open = new Set<Socket>()
  /** Takes calls and never answers them. */
  silent = false

  constructor(readonly path: string) {}

  async appear(): Promise<void> {
    this.server = createServer((from) => {
      this.open.add(from)
      from.on('error', () => from.destroy())
      if (this.silent) return
      const to = connect('/var/run/docker.sock')
      this.open.add(to)
      to.on('error', () => from.destroy())
      from.on('close', () => to.destroy())
      to.on('close', () => from.destroy())
      from.pipe(to)
      to.pipe(from)
    })
    await new Promise<void>((resolve) => this.server?.listen(this.path, resolve))
  }

  async vanish(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.server?.close(() => resolve()))
    this.cut()
    await closed
    await rm(this.path, { force: true })
  }

  cut(): void {
    for (const socket of this.open) socket.destroy()
    this.open.clear()
  }
}

const suite = hasStackImage() && process.env['DOCKER_HOST'] === undefined ? describe : describe.skip
suite('a cell whose parts go away', () => {
  let under: CellUnderTest
  let cell: CellProcess
  let socket: EngineSocket

  beforeAll(async () => {
    under = await CellUnderTest.open()
    socket = new EngineSocket(join(under.home, 'engine.sock'))
    await socket.appear()
    const { main } = await buildCell()
    cell = new CellProcess(main, { ...under.env, DOCKER_HOST: `unix://${socket.path}` })
    cell.start()
    await eventually(() => under.fake.report, 'a first report')
  })
  afterAll(async () => {
    await cell?.end('SIGKILL')
    await socket?.vanish()
    await under?.close()
  })
  afterEach(async () => {
    under.fake.wish()
    await eventually(() => under.fake.report?.instances.length === 0, 'an empty cell')
    await eventually(() => under.containers().length === 0, 'no container')
    under.fake.lines = []
  })
  const killAndStart = async () => {
    await cell.end('SIGKILL')
    under.fake.forgetReport()
    cell.start()
  }

  it('killed again and again, restarts no app, loses no line and repeats none', async () => {
    const { fake } = under
    const one = under.wanted({}, { environment: COUNTING })
    fake.wish(one)
    const before = await under.isState(one, 'running')
    const containers = startedAt(under.containers())
    for (const lines of [300, 900, 1500, 2100]) {
      await eventually(() => counted(fake.texts('APP/PROC/WEB')).length > lines, `${lines} lines`)
      await killAndStart()
    }
    expect(await under.isState(one, 'running')).toEqual(before)
    expect(startedAt(under.containers())).toBe(containers)
    await eventually(() => fake.texts('APP/PROC/WEB').includes('line 4000'), 'the last line', 30_000)
    expect(counted(fake.texts('APP/PROC/WEB'))).toEqual(Array.from({ length: 4000 }, (_, i) => `line ${i + 1}`))
  }, 150_000)

  it('killed while it starts some and stops another, ends where it was going', async () => {
    const { fake } = under
    // An index of its own tells its lines from those that others have left behind.
    const old = under.wanted(
      { gracefulStopSeconds: 10 },
      { index: 9, environment: { LINGER_MS: '3000', VCAP_APPLICATION: '{}' } },
    )
    fake.wish(old)
    await under.isState(old, 'running')
    const starting = [under.wanted({}, { index: 1 }), under.wanted({}, { index: 2 }), under.wanted({}, { index: 3 })]
    const stop: WantedInstance = { ...old, want: 'stop' }
    fake.wish(stop, ...starting)
    await eventually(() => fake.texts('APP/PROC/WEB').includes('terminating'), 'SIGTERM')
    await killAndStart()
    const first = await eventually(() => fake.report, 'a report')
    // Between SIGTERM and its end it must not be in the routes again.
    expect(first.instances.find(({ instanceGuid }) => instanceGuid === old.instanceGuid)?.routable ?? false).toBe(false)
    for (const one of starting) await under.isState(one, 'running')
    await under.isGone(old)
    await eventually(() => under.containers().length === 3, 'three containers')
    expect(fake.lines.filter(({ index, text }) => index === '9' && text === 'Exit status 0')).toHaveLength(1)
  }, 150_000)

  it('goes on while the engine is away, hears afterwards what happened meanwhile, and adopts', async () => {
    const { fake } = under
    const [stays, exits] = [under.wanted({}, { environment: COUNTING }), under.wanted({}, { index: 1 })]
    fake.wish(stays, exits)
    await under.isState(stays, 'running')
    const { endpoint } = await under.isState(exits, 'running')
    const containers = under.containers()
    await socket.vanish()
    await eventually(() => fake.report?.engineHealthy === false, 'word of it')
    expect(fake.report?.instances.map(({ state }) => state)).toEqual(['running', 'running'])
    expect(await under.get(stays)).toContain('VCAP_APPLICATION')
    await fetch(`http://${endpoint!.address}:8080/exit`).catch(() => undefined)
    const late = under.wanted({}, { index: 2 })
    fake.wish(stays, exits, late)
    // What cannot be started now is nobody's crash.
    expect(await under.isState(late, 'crashed')).toMatchObject({ platformFault: true })
    await socket.appear()
    await eventually(() => fake.report?.engineHealthy === true, 'its return')
    expect(await under.isState(exits, 'crashed')).toMatchObject({ crashReason: 'APP/PROC/WEB: Exited with status 9' })
    expect(fake.seen(stays.instanceGuid)?.state).toBe('running')
    await eventually(() => fake.texts('APP/PROC/WEB').includes('line 4000'), 'the last line', 30_000)
    expect(counted(fake.texts('APP/PROC/WEB'))).toHaveLength(4000)
    await eventually(() => under.containers().length === 1, 'one container')
    expect(containers).toContain(under.containers()[0])
    const again = under.wanted({}, { index: 2 })
    fake.wish(stays, again)
    await under.isState(again, 'running')
  }, 150_000)

  it('goes on reporting while the engine hangs', async () => {
    const { fake } = under
    const one = under.wanted()
    fake.wish(one)
    await under.isState(one, 'running')
    socket.silent = true
    socket.cut()
    await eventually(() => fake.report?.engineHealthy === false, 'word of it')
    fake.forgetReport()
    expect((await eventually(() => fake.report, 'reports go on', 12_000)).instances).toHaveLength(1)
    socket.silent = false
    socket.cut()
    await eventually(() => fake.report?.engineHealthy === true, 'its return')
    expect(fake.seen(one.instanceGuid)?.state).toBe('running')
  }, 150_000)

  it('begun before its engine, waits for it', async () => {
    const { fake } = under
    const one = under.wanted()
    fake.wish(one)
    const before = await under.isState(one, 'running')
    const containers = under.containers()
    await socket.vanish()
    await killAndStart()
    await new Promise((resolve) => setTimeout(resolve, 1500))
    expect(await (await fetch(`http://${before.endpoint!.address}:8080/`)).text()).toContain('GREETING')
    await socket.appear()
    expect(await under.isState(one, 'running')).toEqual(before)
    expect(under.containers()).toEqual(containers)
  }, 150_000)
})
