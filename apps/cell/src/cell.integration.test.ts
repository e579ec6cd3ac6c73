import { execFileSync } from 'node:child_process'
import { createHash, randomUUID } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { createEngine } from '@bloomery/containers'
import { RunSpec, type WantedInstance } from '@bloomery/contracts'
import { createAuthority, makeTestIdentity, saveNodeIdentity } from '@bloomery/pki'
import { silentLogger } from '@bloomery/telemetry'
import { FakeScheduler } from './fake-scheduler.fixture.js'
import { newInstanceGuid } from './instances/instance-guid.js'
import { startCell } from './main.js'

const image = process.env['BLOOMERY_STACK_IMAGE'] ?? 'bloomery/stack:bookworm'
const ready = hasStackImage()

function hasStackImage(): boolean {
  try {
    const check = ['run', '--rm', '--network', 'none', '--entrypoint', 'test', image, '-x', '/usr/local/lib/bloomery/supervise']
    execFileSync('docker', check, { stdio: 'ignore' })
    return true
  } catch {
    console.warn(`No container engine with the stack image ${image} answers: the cell agent is NOT tested on docker here.`)
    return false
  }
}

/** Answers http with its environment; `/exit` ends it, `/eat` takes all memory, `/lines` prints. */
const SERVER = `
const http = require('http')
console.log('listening with', process.env.FROM_PROFILE)
http.createServer((q, s) => {
  if (q.url === '/exit') process.exit(9)
  if (q.url === '/ignore') process.on('SIGTERM', () => {})
  if (q.url === '/sick') globalThis.sick = true
  if (q.url === '/eat') { const a = []; for (;;) a.push(Buffer.alloc(1e7, 1)) }
  if (globalThis.sick && q.url === '/health') { s.statusCode = 500 }
  s.end(JSON.stringify(process.env))
}).listen(process.env.PORT)
`

async function eventually<T>(
  probe: () => T | Promise<T>,
  what: string,
  timeoutMs = 20_000,
): Promise<Exclude<T, undefined | false>> {
  const deadline = Date.now() + timeoutMs
  for (;;) {
    const value = await probe()
    if (value !== undefined && value !== false) return value as Exclude<T, undefined | false>
    if (Date.now() > deadline) throw new Error(`in vain: ${what}`)
    await delay(20)
  }
}

// What goes wrong here goes wrong on purpose.
process.env['BLOOMERY_LOG_LEVEL'] ??= 'silent'
const suite = ready ? describe : describe.skip
suite('the cell agent on docker', () => {
  const installation = randomUUID()
  let home: string
  let fake: FakeScheduler
  let env: NodeJS.ProcessEnv
  let cell: { close(): Promise<void> }
  let dropletSha: string

  const spec = (change: Partial<RunSpec> = {}) =>
    RunSpec.parse({
      guid: randomUUID(),
      version: 1,
      appGuid: randomUUID(),
      appName: 'app',
      spaceGuid: randomUUID(),
      spaceName: 'dev',
      organizationGuid: randomUUID(),
      organizationName: 'bloomery',
      processGuid: randomUUID(),
      processType: 'web',
      stack: 'cflinuxfs4',
      dropletGuid: randomUUID(),
      command: null,
      memoryMb: 128,
      diskMb: 128,
      logRateLimit: -1,
      cpuWeight: 2,
      gracefulStopSeconds: 1,
      healthCheck: { type: 'port' },
      ...change,
    })
  const wanted = (change: Partial<RunSpec> = {}, more: Partial<WantedInstance> = {}): WantedInstance => ({
    instanceGuid: newInstanceGuid(),
    index: 0,
    want: 'run',
    spec: spec(change),
    environment: { GREETING: 'hello', VCAP_APPLICATION: '{"name":"app"}', VCAP_SERVICES: '{}' },
    droplet: { sha256: dropletSha, sizeBytes: 1 },
    ...more,
  })
  const isState = (one: WantedInstance, state: string) =>
    eventually(
      () => fake.seen(one.instanceGuid)?.state === state && fake.seen(one.instanceGuid),
      `${state}: ${JSON.stringify(fake.report)}`,
    )
  const isGone = (one: WantedInstance) =>
    eventually(() => fake.report !== undefined && fake.seen(one.instanceGuid) === undefined, `${one.instanceGuid} gone`)
  const get = async (one: WantedInstance, path = '/') => {
    const { endpoint } = await isState(one, 'running')
    const port = endpoint?.ports[0]
    const answer = await fetch(`http://${endpoint?.address ?? ''}:${port?.internal ?? 0}${path}`)
    return answer.text()
  }
  const containers = () =>
    execFileSync('docker', ['ps', '-aq', '--filter', `label=bloomery.installation=${installation}`], { encoding: 'utf8' })
      .split('\n')
      .filter(Boolean)

  /** A droplet with the machine's own node in it, ready to be unpacked or already so. */
  async function makeDroplet(folder: string): Promise<string> {
    await mkdir(join(folder, 'app/.profile.d'), { recursive: true })
    for (const name of ['deps/0/bin', 'profile.d', 'logs', 'tmp']) await mkdir(join(folder, name), { recursive: true })
    await writeFile(join(folder, 'app/server.js'), SERVER)
    await writeFile(join(folder, 'deps/0/bin/node'), readFileSync(process.execPath))
    await chmod(join(folder, 'deps/0/bin/node'), 0o755)
    await writeFile(join(folder, 'profile.d/0.sh'), 'export PATH=$DEPS_DIR/0/bin:$PATH\nfalse\n')
    await writeFile(join(folder, 'app/.profile.d/a.sh'), 'export FROM_PROFILE="profile.d of the app"\n')
    await writeFile(join(folder, 'app/.profile'), 'export FROM_PROFILE="$FROM_PROFILE and .profile"\n')
    await writeFile(join(folder, 'staging_info.yml'), '{"detected_buildpack":"x","start_command":"node server.js"}')
    if (process.getuid?.() === 0) execFileSync('chown', ['-R', '2000:2000', folder])
    return folder
  }

  beforeAll(async () => {
    home = await mkdtemp(join(tmpdir(), 'bloomery-cell-'))
    const authority = await createAuthority({ name: 'Test authority' })
    const identityOf = async (role: 'scheduler' | 'logs' | 'cell') =>
      (await makeTestIdentity(role, { nodeId: role === 'cell' ? 'c1' : 'main', authority })).identity
    fake = new FakeScheduler(await identityOf('scheduler'), await identityOf('logs'))
    await fake.open()
    const nodeDir = join(home, 'nodes/cell')
    await saveNodeIdentity(nodeDir, await identityOf('cell'))
    dropletSha = createHash('sha256').update(installation).digest('hex')
    await makeDroplet(join(home, 'cell/droplets', dropletSha))
    env = {
      BLOOMERY_HOME: home,
      BLOOMERY_NODE_DIR: nodeDir,
      BLOOMERY_NODE_ID: 'c1',
      BLOOMERY_SCHEDULER_URL: fake.url,
      BLOOMERY_LOGS_URL: fake.logsUrl,
      BLOOMERY_INSTALLATION_ID: installation,
      BLOOMERY_STACK_IMAGE: image,
    }
    cell = await startCell(env)
    await eventually(() => fake.report, 'a first report')
  })
  afterAll(async () => {
    await cell?.close()
    const engine = createEngine({
      kind: 'docker',
      installationId: installation,
      folder: join(home, 'cell/containers'),
      image,
      host: undefined,
      hostAddress: '127.0.0.1',
      trustHostCertificates: true,
      allowUnconfined: false,
      logger: silentLogger,
    })
    await engine.cleanUp({ everything: true, graceSeconds: 0 })
    await engine.close()
    await fake.close()
    await rm(home, { recursive: true, force: true })
  })
  afterEach(async () => {
    fake.wish()
    await eventually(() => fake.report?.instances.length === 0, 'an empty cell')
    fake.lines = []
  })

  it('starts an instance, gives it its environment, and stops it in order', async () => {
    const one = wanted()
    const began = performance.now()
    fake.wish(one)
    const seen = await isState(one, 'running')
    const tookMs = performance.now() - began
    // A fraction of a second on a machine with nothing else to do; the bound is for one that is busy with tests.
    expect(tookMs).toBeLessThan(10_000)
    expect(seen).toMatchObject({ routable: true, index: 0, processType: 'web', endpoint: { hostAddress: '127.0.0.1' } })
    const inside = JSON.parse(await get(one)) as Record<string, string>
    const { internal, external } = seen.endpoint!.ports[0]!
    expect(inside).toMatchObject({
      GREETING: 'hello',
      FROM_PROFILE: 'profile.d of the app and .profile',
      PORT: '8080',
      VCAP_APP_HOST: '0.0.0.0',
      VCAP_APP_PORT: '8080',
      HOME: '/home/vcap/app',
      USER: 'vcap',
      PWD: '/home/vcap/app',
      TMPDIR: '/home/vcap/tmp',
      LANG: 'en_US.UTF-8',
      MEMORY_LIMIT: '128m',
      CF_INSTANCE_GUID: one.instanceGuid,
      INSTANCE_GUID: one.instanceGuid,
      CF_INSTANCE_INDEX: '0',
      CF_INSTANCE_IP: '127.0.0.1',
      CF_INSTANCE_INTERNAL_IP: seen.endpoint!.address,
      CF_INSTANCE_ADDR: `127.0.0.1:${external}`,
      CF_INSTANCE_PORTS: JSON.stringify([{ external, internal }]),
      VCAP_APPLICATION: JSON.stringify({
        name: 'app',
        host: '0.0.0.0',
        port: 8080,
        instance_id: one.instanceGuid,
        instance_index: 0,
      }),
    })
    await eventually(
      () => fake.metrics.some(({ instanceGuid, memoryBytes }) => instanceGuid === one.instanceGuid && memoryBytes > 0),
      'metrics',
    )
    fake.wish({ ...one, want: 'stop' })
    await isGone(one)
    await eventually(() => fake.texts('CELL').length === 7, 'all lines of the cell')
    expect(fake.texts('CELL')).toEqual([
      `Cell c1 creating container for instance ${one.instanceGuid}`,
      `Cell c1 successfully created container for instance ${one.instanceGuid}`,
      'Starting health monitoring of container',
      'Container became healthy',
      `Cell c1 stopping instance ${one.instanceGuid}`,
      `Cell c1 destroying container for instance ${one.instanceGuid}`,
      `Cell c1 successfully destroyed container for instance ${one.instanceGuid}`,
    ])
    expect(fake.texts('APP/PROC/WEB')).toEqual([
      'Invoking pre-start scripts.',
      'Invoking start command.',
      'listening with profile.d of the app and .profile',
      'Exit status 143',
    ])
    expect(containers()).toEqual([])
  })

  it('keeps no secret on its disk', async () => {
    const one = wanted({ command: 'SECRET=in-the-command exec node server.js' }, { environment: { DB: 'secret-value' } })
    fake.wish(one)
    await isState(one, 'running')
    const files = (await readdir(join(home, 'cell'), { recursive: true, withFileTypes: true })).filter(
      (file) => file.isFile() && file.name.endsWith('.json'),
    )
    expect(files.map(({ name }) => name)).toContain('desired.json')
    for (const file of files) {
      const text = await readFile(join(file.parentPath, file.name), 'utf8')
      expect(text).not.toContain('secret-value')
      expect(text).not.toContain('in-the-command')
    }
  })

  it('tells of a crash with exit status and memory, once, and starts nothing by itself', async () => {
    const [exits, eats] = [wanted(), wanted({ memoryMb: 96 }, { index: 1 })]
    fake.wish(exits, eats)
    await get(exits)
    await get(exits, '/exit').catch(() => undefined)
    await get(eats, '/eat').catch(() => undefined)
    expect(await isState(exits, 'crashed')).toMatchObject({ crashReason: 'APP/PROC/WEB: Exited with status 9', exitStatus: 9 })
    expect(await isState(eats, 'crashed')).toMatchObject({
      crashReason: 'APP/PROC/WEB: Exited with status 137 (out of memory)',
      exitStatus: 137,
    })
    await eventually(() => fake.texts('APP/PROC/WEB').includes('Exit status 137 (out of memory)'), 'the exit line')
    await eventually(() => containers().length === 0, 'no container left')
    expect(fake.seen(exits.instanceGuid)?.state).toBe('crashed')
    expect(fake.seen(exits.instanceGuid)?.platformFault).toBeUndefined()
  })

  it('ends what never becomes healthy, and what becomes unhealthy', async () => {
    const deaf = wanted({ command: 'sleep 60', healthCheck: { type: 'port', timeout: 1 } })
    const sick = wanted({ healthCheck: { type: 'http', endpoint: '/health', interval: 1 } }, { index: 1 })
    fake.wish(deaf, sick)
    await get(sick, '/sick')
    expect((await isState(deaf, 'crashed')).crashReason).toMatch(
      /^Instance never healthy after 1(\.\d+)?s: failed to make TCP connection to [\d.]+:8080: connection refused$/,
    )
    expect((await isState(sick, 'crashed')).crashReason).toMatch(
      /^Instance became unhealthy: failed to make HTTP request to '\/health' on port 8080: received status code 500 in \d+ms$/,
    )
    await eventually(() => fake.texts('CELL').includes('Container became unhealthy'), 'the line')
    expect(fake.texts('CELL')).toContainEqual(
      expect.stringMatching(/^Failed after 1(\.\d+)?s: startup health check never passed\.$/),
    )
    expect(fake.texts('HEALTH')).toContainEqual(expect.stringContaining('failed to make TCP connection'))
  })

  it('takes an instance into the routes only while its readiness check passes', async () => {
    const one = wanted({ readinessHealthCheck: { type: 'http', endpoint: '/health', interval: 1 } })
    fake.wish(one)
    await eventually(() => fake.seen(one.instanceGuid)?.routable, 'routable')
    await get(one, '/sick')
    await eventually(() => fake.seen(one.instanceGuid)?.routable === false, 'not routable')
    expect(fake.seen(one.instanceGuid)?.state).toBe('running')
    expect(fake.texts('HEALTH')).toContain(
      'Container passed the readiness health check. Container marked ready and added to route pool.',
    )
  })

  it('adopts what runs after a restart, loses no line and repeats none', async () => {
    const one = wanted({
      command: 'i=0; (while [ $i -lt 2000 ]; do i=$((i+1)); echo "line $i"; sleep 0.002; done) & exec node server.js',
    })
    fake.wish(one)
    const { since, endpoint } = await isState(one, 'running')
    await eventually(() => fake.texts('APP/PROC/WEB').length > 50, 'some lines')
    await cell.close()
    const before = containers()
    fake.forgetReport()
    await delay(300)
    cell = await startCell(env)
    expect(await isState(one, 'running')).toMatchObject({ since, endpoint, routable: true })
    expect(containers()).toEqual(before)
    await eventually(() => fake.texts('APP/PROC/WEB').includes('line 2000'), 'the last line', 30_000)
    const lines = fake.texts('APP/PROC/WEB').filter((text) => text.startsWith('line '))
    expect(lines).toEqual(Array.from({ length: 2000 }, (_, i) => `line ${i + 1}`))
  })

  it('fetches a droplet, verifies it, and blames the platform when it cannot', async () => {
    const source = await makeDroplet(join(home, 'source'))
    execFileSync('tar', ['-C', source, '-czf', join(home, 'droplet.tgz'), '.'])
    const bytes = await readFile(join(home, 'droplet.tgz'))
    const server = createServer((_request, response) => response.end(bytes)).listen(0, '127.0.0.1')
    await new Promise((resolve) => server.once('listening', resolve))
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
    const sha256 = createHash('sha256').update(bytes).digest('hex')
    try {
      const good = wanted({}, { droplet: { sha256, sizeBytes: bytes.length, url } })
      const second = wanted({}, { droplet: { sha256, sizeBytes: bytes.length, url }, index: 1 })
      const bad = wanted({}, { droplet: { sha256: 'ab'.repeat(32), sizeBytes: 1, url }, index: 2 })
      const absent = wanted({}, { droplet: { sha256: 'cd'.repeat(32), sizeBytes: 1 }, index: 3 })
      fake.wish(good, second, bad, absent)
      await get(good)
      await get(second)
      expect(await isState(absent, 'crashed')).toMatchObject({ platformFault: true })
      expect(await isState(bad, 'crashed')).toMatchObject({
        platformFault: true,
        crashReason: expect.stringContaining('checksum') as unknown,
      })
      expect(existsSync(join(home, 'cell/droplets', 'ab'.repeat(32)))).toBe(false)
    } finally {
      server.close()
    }
  })

  it('refuses the document of a deposed scheduler', async () => {
    const one = wanted()
    fake.wish(one)
    await isState(one, 'running')
    fake.leaseToken = '3'
    fake.wish()
    await delay(500)
    expect(containers()).toHaveLength(1)
    fake.leaseToken = '6'
  })

  it('restarts a crashed instance itself only while the scheduler is out of reach, and stops nothing then', async () => {
    const [crashes, stays] = [wanted(), wanted({}, { index: 1 })]
    fake.wish(crashes, stays)
    const { endpoint } = await isState(crashes, 'running')
    await get(stays)
    await fake.vanish()
    await fetch(`http://${endpoint!.address}:8080/exit`).catch(() => undefined)
    // The scheduler counts as out of reach after 15 s.
    await eventually(
      () => containers().length === 2 && fake.texts('APP/PROC/WEB').filter((text) => text.startsWith('listening')).length === 3,
      'a restart',
      28_000,
    )
    fake.forgetReport()
    await fake.open()
    const local = await eventually(
      () => fake.report?.instances.find(({ restartedLocally, state }) => restartedLocally === true && state === 'running'),
      'the report of it',
    )
    expect(local).toMatchObject({ index: 0, specGuid: crashes.spec.guid })
    expect(local.instanceGuid).not.toBe(crashes.instanceGuid)
    expect(fake.report?.instances).toHaveLength(2)
    fake.wish({ ...crashes, instanceGuid: local.instanceGuid }, stays)
    await delay(300)
    expect(containers()).toHaveLength(2)
  }, 60_000)
})
