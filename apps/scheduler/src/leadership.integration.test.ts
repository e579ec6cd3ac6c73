import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { jest } from '@jest/globals'
import { rows, sql } from '@bloomery/database/sql'
import { eventually, withPostgres } from '@bloomery/testing'
import { guarded, LostLeaseError } from './leadership/guarded.js'
import { emptyDatabase, TestPlatform } from './testing/test-platform.fixture.js'

jest.setTimeout(60_000)

const postgres = withPostgres()
let platform: TestPlatform
beforeEach(async () => {
  await emptyDatabase(postgres.pool)
  platform = await TestPlatform.prepare(postgres.url)
})
afterEach(() => platform.close())

describe('two schedulers', () => {
  it('never lead at once; the other takes over in moments and nothing restarts', async () => {
    // Far longer than the test: it is the lock that lets the second one in.
    const first = await platform.scheduler('s1', { leaseTtlMs: 60_000 })
    await eventually(() => first.isLeading)
    const second = await platform.scheduler('s2', { leaseTtlMs: 60_000 })
    const router = await platform.router('w0', first)
    const cell = await platform.cell('c1', first)
    const app = await platform.installation.startApp({ instances: 3 })
    first.nudge()
    await eventually(() => router.endpointsOf(app.host).length === 3)
    expect(second.isLeading).toBe(false)
    const guids = cell.running.map(({ instanceGuid }) => instanceGuid).sort()

    // As after a kill -9: the leader's connections end, and it says nothing any more.
    await postgres.pool.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 's1'`)
    await first.close()
    await eventually(() => second.isLeading)
    cell.use(second.port)
    router.use(second.port)
    await platform.installation.scale(app.processGuid, 4)
    second.nudge()
    await eventually(() => router.endpointsOf(app.host).length === 4, { timeoutMs: 15_000 })
    expect(cell.running.map(({ instanceGuid }) => instanceGuid)).toEqual(expect.arrayContaining(guids))
    expect(cell.stopped).toEqual([])
    const epochs = router.messages.filter(({ type }) => type === 'snapshot').map(({ epoch }) => BigInt(epoch))
    expect(epochs.at(-1)! > epochs[0]!).toBe(true)
  })

  it('a new leader ends nothing before the routers that were there have let go of it, however long nobody led', async () => {
    const first = await platform.scheduler('s1')
    const router = await platform.router('w0', first)
    const cell = await platform.cell('c1', first)
    const app = await platform.installation.startApp()
    first.nudge()
    await eventually(() => router.endpointsOf(app.host).length === 1)
    await eventually(async () => (await rows(postgres.pool, sql`SELECT 1 FROM routers WHERE applied_revision > 1`)).length === 1)
    await first.close()
    await platform.installation.stop(app)
    platform.clock.advance(60_000)
    const second = await platform.scheduler('s2')
    cell.use(second.port)
    await eventually(async () => (await platform.instances())[0]?.unroutedAt != null)
    expect(cell.stopped).toEqual([])
    router.use(second.port)
    await eventually(() => cell.stopped.length === 1, { timeoutMs: 4_500 })
    expect(router.endpointsOf(app.host)).toEqual([])
  })

  it('an old leader that wakes up writes nothing', async () => {
    const first = await platform.scheduler('s1')
    await eventually(() => first.isLeading)
    const [held] = await rows<{ name: string; holder: string; token: bigint }>(
      postgres.pool,
      sql`SELECT name, holder, token FROM leases`,
    )
    await first.close()
    const second = await platform.scheduler('s2')
    await eventually(() => second.isLeading)
    await expect(guarded(postgres.pool, held!, () => Promise.resolve())).rejects.toThrow(LostLeaseError)
  })
})

describe('while the database is away', () => {
  it('routes and instances stay, and afterwards everything goes on', async () => {
    const gate = await Gate.open(postgres.url)
    const scheduler = await platform.scheduler('s1', { url: gate.url })
    const router = await platform.router('w0', scheduler)
    const cell = await platform.cell('c1', scheduler)
    const app = await platform.installation.startApp({ instances: 2 })
    scheduler.nudge()
    await eventually(() => router.endpointsOf(app.host).length === 2)

    gate.shut()
    await eventually(() => !scheduler.isLeading)
    platform.clock.advance(10 * 60_000)
    await platform.installation.scale(app.processGuid, 3)
    const late = await platform.router('w1', scheduler)
    await eventually(() => late.endpointsOf(app.host).length === 2) // the last table known
    expect(cell.running).toHaveLength(2)

    gate.reopen()
    await eventually(() => scheduler.isLeading, { timeoutMs: 15_000 })
    await eventually(() => router.endpointsOf(app.host).length === 3 && late.endpointsOf(app.host).length === 3, {
      timeoutMs: 15_000,
    })
    expect(cell.stopped).toEqual([])
    await gate.close()
  })
})

/** A way to the database that can be cut. */
class Gate {
  readonly #sockets = new Set<Socket>()
  #isOpen = true
  private constructor(
    readonly server: Server,
    readonly url: string,
  ) {}

  static async open(databaseUrl: string): Promise<Gate> {
    // postgresql://user:password@/database?host=<folder of the socket>&port=…
    const [, user, database, query] = /^postgresql:\/\/(.*)@[^/]*\/([^?]*)\?(.*)$/.exec(databaseUrl)!
    const target = new URLSearchParams(query)
    const socketPath = `${target.get('host')!}/.s.PGSQL.${target.get('port') ?? '5432'}`
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    const gate = new Gate(server, `postgresql://${user!}@127.0.0.1:${port}/${database!}`)
    server.on('connection', (socket) => gate.#through(socket, connect(socketPath)))
    return gate
  }

  shut(): void {
    this.#isOpen = false
    for (const socket of this.#sockets) socket.destroy()
  }

  reopen(): void {
    this.#isOpen = true
  }

  async close(): Promise<void> {
    this.shut()
    await new Promise((resolve) => this.server.close(resolve))
  }

  #through(from: Socket, to: Socket): void {
    for (const socket of [from, to]) {
      this.#sockets.add(socket)
      socket.on('error', () => undefined)
      socket.once('close', () => {
        this.#sockets.delete(socket)
        from.destroy()
        to.destroy()
      })
    }
    if (!this.#isOpen) from.destroy()
    from.pipe(to).pipe(from)
  }
}
