import { execFileSync } from 'node:child_process'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { openDriver, type Driver } from './drivers.js'
import { folder, nodeApp, versionedApp } from './fixtures.js'
import { startLoad } from './load.js'
import { eventually, startPlatform, type Platform } from './platform.js'

/** Runs what it is sent, as the app: a tenant who means harm. */
const SHELL = nodeApp(`
  let script = ''
  req.on('data', (d) => (script += d))
  req.on('end', () => require('node:child_process').execFile('bash', ['-c', script], { timeout: 20000, maxBuffer: 1 << 20 }, (error, out, err) => res.end(JSON.stringify({ code: error ? (error.code ?? 1) : 0, out, err }))))`)

describe('what an app can not do', () => {
  let platform: Platform
  let driver: Driver
  /** Code -1: the intruder itself did not live to answer. */
  const inside = async (script: string): Promise<{ code: number; out: string; err: string }> => {
    const { status, body } = await platform.request('intruder.apps.localhost', '/', {
      method: 'POST',
      body: script,
      timeoutMs: 30_000,
    })
    return status === 200 ? (JSON.parse(body) as { code: number; out: string; err: string }) : { code: -1, out: '', err: body }
  }
  const intruderAnswers = () =>
    eventually(
      'the intruder answers',
      60,
      () => inside('true'),
      ({ code }) => code === 0,
    )
  beforeAll(async () => {
    platform = await startPlatform({ engine: 'docker' })
    driver = await openDriver('bloom', platform)
    await driver.ok(['push', 'neighbour', '-p', folder(versionedApp('v1')), '-m', '64M'])
    await driver.ok(['push', 'intruder', '-p', folder(SHELL), '-m', '128M', '-k', '128M'])
    await intruderAnswers()
  }, 600_000)
  afterAll(async () => {
    driver?.close()
    await platform?.stop()
  })
  const connects = async (host: string, port: number) =>
    (await inside(`timeout 4 bash -c 'exec 3<>/dev/tcp/${host}/${port}'`)).code === 0

  it('reach another app other than through the router', async () => {
    const environment = JSON.parse((await platform.request('neighbour.apps.localhost', '/env')).body) as Record<string, string>
    expect(await connects(environment['CF_INSTANCE_INTERNAL_IP'] ?? '', 8080)).toBe(false)
  })

  it("reach private listeners of the machine, the platform's own among them", async () => {
    const gateway =
      (
        await inside(
          `ip route 2>/dev/null | sed -n 's/^default via \\([^ ]*\\).*/\\1/p' || true; awk '$2=="00000000"{print $3}' /proc/net/route | sed 's/\\(..\\)\\(..\\)\\(..\\)\\(..\\)/printf "%d.%d.%d.%d" 0x\\4 0x\\3 0x\\2 0x\\1/' | sh`,
        )
      ).out
        .trim()
        .split('\n')
        .at(-1) ?? ''
    expect(gateway).toMatch(/^\d+\.\d+\.\d+\.\d+$/)
    const listener = http.createServer((_request, response) => response.end('private')).listen(0, '0.0.0.0')
    await new Promise((done) => listener.once('listening', done))
    expect(await connects(gateway, (listener.address() as AddressInfo).port)).toBe(false)
    listener.close()
    expect(await connects('169.254.169.254', 80)).toBe(false)
    const sockets = execFileSync('find', [platform.home, '-name', '*.sock*', '-o', '-name', '.s.PGSQL*']).toString()
    expect((await inside(`ls ${platform.home} 2>&1`)).code).not.toBe(0)
    expect(sockets).not.toBe('')
  })

  it('become root or hold a capability', async () => {
    expect((await inside('id -u')).out.trim()).toBe('2000')
    expect((await inside('grep -E "^Cap(Prm|Eff|Bnd)" /proc/self/status')).out).toMatch(
      /^CapPrm:\t0+\nCapEff:\t0+\nCapBnd:\t0+\n$/,
    )
    expect((await inside('grep NoNewPrivs /proc/self/status')).out).toMatch(/1/)
    expect((await inside('su -c true < /dev/null 2>&1; mount -t tmpfs none /mnt 2>&1')).code).not.toBe(0)
  })

  it('hurt its neighbour by filling its disk, forking without end, or eating memory', async () => {
    const load = startLoad(platform.httpPort, 'neighbour.apps.localhost', { connections: 2 })
    const full = await inside(
      'dd if=/dev/zero of=/home/vcap/app/fill bs=1M count=600 2>&1; code=$?; rm -f /home/vcap/app/fill; exit $code',
    )
    expect(full.code).not.toBe(0)
    await inside('dd if=/dev/zero of=/tmp/fill bs=1M count=600 2>&1; rm -f /tmp/fill')
    const forks = await inside(
      'for i in $(seq 3000); do sleep 5 & done 2>&1 | tail -1; jobs -p | wc -l; kill $(jobs -p) 2>/dev/null; true',
    )
    // What it did to itself is its own affair; it is back when nobody pushes it any more.
    expect(Number(forks.out.trim().split('\n').at(-1) ?? 0)).toBeLessThan(2500)
    await intruderAnswers()
    await inside('node -e "const a = []; for (;;) a.push(Buffer.alloc(1e7, 1))"')
    await inside('head -c 400M /dev/zero > /dev/shm/fill')
    await intruderAnswers()
    const { failures, requests } = await load.stop()
    expect(requests).toBeGreaterThan(50)
    expect(failures).toEqual([])
  })
})

describe('two platforms on one engine', () => {
  it('stopping one, and its clean-up, touch nothing of the other', async () => {
    const [one, other] = [await startPlatform({ engine: 'docker' }), await startPlatform({ engine: 'docker' })]
    try {
      expect(one.installationId).not.toBe(other.installationId)
      const containers = () =>
        execFileSync('docker', ['ps', '-q', '--filter', `label=bloomery.installation=${other.installationId}`])
          .toString()
          .trim()
          .split('\n')
          .filter(Boolean)
      const host = await eventually(
        "the other one's sample answers",
        30,
        () => other.request('hello-node.apps.localhost'),
        ({ status }) => status === 200,
      )
      expect(host.status).toBe(200)
      const before = containers()
      expect(before.length).toBeGreaterThan(0)
      const load = startLoad(other.httpPort, 'hello-node.apps.localhost', { connections: 2 })
      await one.stop()
      await new Promise((wait) => setTimeout(wait, 1000))
      const { failures } = await load.stop()
      expect(failures).toEqual([])
      expect(containers()).toEqual(before)
      expect((await other.request('localhost', '/healthz')).status).toBe(200)
    } finally {
      await other.stop()
    }
  })
})
