import { execFileSync } from 'node:child_process'
import { createHash, X509Certificate } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, readdir, readFile, utimes } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { jest } from '@jest/globals'
import type { WantedInstance } from '@bloomery/contracts'
import { CellUnderTest, eventually, hasStackImage, makeDroplet } from './cell-under-test.fixture.js'
import type { FakeScheduler } from './fake-scheduler.fixture.js'
import { startCell } from './main.js'

// What goes wrong here goes wrong on purpose.
process.env['BLOOMERY_LOG_LEVEL'] ??= 'silent'
jest.setTimeout(90_000)
const suite = hasStackImage() ? describe : describe.skip
suite('the cell agent on docker', () => {
  let under: CellUnderTest
  let fake: FakeScheduler
  let home: string
  let cell: { close(): Promise<void> }
  const wanted: CellUnderTest['wanted'] = (...change) => under.wanted(...change)
  const isState = (one: WantedInstance, state: string) => under.isState(one, state)
  const isGone = (one: WantedInstance) => under.isGone(one)
  const get = (one: WantedInstance, path?: string) => under.get(one, path)
  const containers = () => under.containers()

  beforeAll(async () => {
    under = await CellUnderTest.open()
    ;({ fake, home } = under)
    cell = await startCell(under.env)
    await eventually(() => fake.report, 'a first report')
  })
  afterAll(async () => {
    await cell?.close()
    await under?.close()
  })
  afterEach(async () => {
    fake.wish()
    await eventually(() => fake.report?.instances.length === 0, 'an empty cell')
    fake.lines = []
  })

  it('starts an instance, gives it its environment, and stops it in order', async () => {
    const one = wanted()
    fake.wish(one)
    const seen = await isState(one, 'running')
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
      'terminating',
      'Exit status 0',
    ])
    expect(containers()).toEqual([])
  })

  it('removes what it keeps without need when an operator asks, and tells what has stayed', async () => {
    const one = wanted()
    fake.wish(one)
    await isState(one, 'running')
    const folder = join(home, 'cell/droplets')
    const [gone, kept] = ['d'.repeat(64), 'e'.repeat(64)]
    for (const name of [gone, kept, 'layer-unused']) {
      await mkdir(join(folder, name))
      await utimes(join(folder, name), 1_000_000_000, 1_000_000_000)
    }
    // What runs stays whatever is said of it.
    await utimes(join(folder, under.dropletSha), 1_000_000_000, 1_000_000_000)
    fake.deleted = [gone, under.dropletSha]
    fake.leftoversAsked = true
    // Brings about a report.
    fake.wish(one, wanted())
    await eventually(() => fake.told?.tidied, 'that it has tidied')
    fake.leftoversAsked = false
    fake.deleted = []
    expect(fake.told?.leftovers.filter(({ kind }) => kind !== 'image')).toEqual([])
    const left = await readdir(folder)
    expect(left).toEqual(expect.arrayContaining([kept, under.dropletSha]))
    expect(left).not.toContain(gone)
    expect(left).not.toContain('layer-unused')
  })

  it('gives the program a certificate that says who it is, and its successor when it is due, also by another agent', async () => {
    under.api.minutes = 1
    const one = wanted()
    fake.wish(one)
    const { endpoint } = await isState(one, 'running')
    const identity = async () =>
      JSON.parse(await get(one, '/identity')) as { path: string; keyPath: string; pem: string; isOurs: boolean }
    const first = await identity()
    expect(first).toMatchObject({
      path: '/etc/cf-instance-credentials/instance.crt',
      keyPath: '/etc/cf-instance-credentials/instance.key',
      isOurs: true,
      trusted: under.api.instances.certificatePem,
      mode: process.getuid?.() === 0 ? '400' : '444',
      isVcaps: process.getuid?.() === 0,
    })
    const certificate = new X509Certificate(first.pem)
    const authority = new X509Certificate(under.api.instances.certificatePem)
    expect(certificate.verify(authority.publicKey)).toBe(true)
    expect(first.pem).toContain(under.api.instances.certificatePem)
    expect(certificate.subject).toBe(`OU=organization:o + OU=space:s + OU=app:a\nCN=${one.instanceGuid}`)
    expect(certificate.subjectAltName).toBe(`DNS:${one.instanceGuid}, IP Address:${endpoint?.address}`)

    await cell.close()
    under.api.minutes = 24 * 60
    cell = await startCell(under.env)
    const second = await eventually(async () => {
      const seen = await identity()
      return seen.pem !== first.pem && seen.isOurs && seen
    }, 'a successor')
    expect(new X509Certificate(second.pem).verify(authority.publicKey)).toBe(true)
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
    cell = await startCell(under.env)
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
