import { availableParallelism, loadavg } from 'node:os'
import { openDriver, type Driver } from './drivers.js'
import { folder, nodeApp, TINY, tinyApp } from './fixtures.js'
import { startLoad } from './load.js'
import { eventually, startPlatform, type Platform } from './platform.js'
import { findRole, headOf, processesOf, type Role } from './processes.js'

/** Ten seconds of a machine that has no more to do than these tests; of one that has, as many as its processes wait for. */
const readyWithinMs = () => 10_000 * Math.max(1, (loadavg()[0] ?? 0) / (2 * availableParallelism()))
const pause = (ms: number) => new Promise((done) => setTimeout(done, ms))

describe('kill -9, one after another, under constant load', () => {
  let platform: Platform
  let driver: Driver
  beforeAll(async () => {
    platform = await startPlatform({ engine: 'docker', env: { BLOOMERY_SAMPLE: 'no' } })
    driver = await openDriver('bloom', platform)
    await driver.ok(['push', 'steady', '-p', folder(tinyApp('v1')), ...TINY, '-i', '2'])
    await eventually(
      'both instances run',
      60,
      () => driver.ok(['app', 'steady']),
      ({ stdout }) => /2\/2/.test(stdout),
    )
    await eventually('both instances are routed', 30, instances, (guids) => guids.length === 2)
  })
  afterAll(async () => {
    driver?.close()
    await platform?.stop()
  })

  const isReady = async () => (await platform.request('localhost', '/healthz')).status === 200
  const ready = () => eventually('a push would work again', 60, isReady, (yes) => yes)
  /** Who answers, by instance guid: a restart of any would show. */
  async function instances(): Promise<string[]> {
    const seen = new Set<string>()
    for (let i = 0; i < 12; i++) {
      const { status, body } = await platform.request('steady.apps.localhost', '/env')
      seen.add(status === 200 ? ((JSON.parse(body) as Record<string, string>)['CF_INSTANCE_GUID'] ?? '') : `status ${status}`)
    }
    return [...seen].sort()
  }
  const pushAfter = (role: string) => driver.ok(['push', 'after-kill', '-p', folder(tinyApp(role)), ...TINY])

  it.each<Role>(['control', 'cell', 'routerHolder', 'postgres', 'redis'])(
    '%s: no request fails, nothing restarts, pushes work within 10 s',
    async (role) => {
      const before = await instances()
      const victim = headOf(findRole(platform.home, role))
      const load = startLoad(platform.httpPort, 'steady.apps.localhost')
      await pause(300)
      process.kill(victim.pid, 'SIGKILL')
      await eventually(
        `another ${role} runs`,
        30,
        async () => findRole(platform.home, role),
        (found) => found.length > 0 && found.every(({ pid }) => pid !== victim.pid),
      )
      const restarted = Date.now()
      await ready()
      expect(Date.now() - restarted).toBeLessThan(readyWithinMs())
      await pushAfter(role)
      const { requests, failures } = await load.stop()
      expect({ role, failures }).toEqual({ role, failures: [] })
      expect(requests).toBeGreaterThan(100)
      expect(await instances()).toEqual(before)
      await eventually(
        'what was pushed answers',
        10,
        () => platform.request('after-kill.apps.localhost'),
        ({ body }) => body === `${role} 0`,
      )
    },
  )

  it('a router worker: only what was open on it may fail, and no connection is refused', async () => {
    const victim = headOf(findRole(platform.home, 'routerWorker'))
    const load = startLoad(platform.httpPort, 'steady.apps.localhost', { connections: 4 })
    await pause(300)
    process.kill(victim.pid, 'SIGKILL')
    await pause(2000)
    const { failures } = await load.stop()
    expect(failures.length).toBeLessThanOrEqual(4)
    expect(failures.filter(({ what }) => !/hang up|ECONNRESET|aborted/.test(what))).toEqual([])
    await ready()
  })

  it('a rolling restart goes on where the control process died, without a failed request', async () => {
    const load = startLoad(platform.httpPort, 'steady.apps.localhost')
    const before = await instances()
    const restart = driver.run(['restart', 'steady', '--strategy', 'rolling'])
    await eventually(
      'the deployment is under way',
      30,
      () => driver.run(['curl', '/v3/deployments?status_values=ACTIVE']),
      ({ stdout }) => /"total_results":\s*1/.test(stdout),
    )
    process.kill(headOf(findRole(platform.home, 'control')).pid, 'SIGKILL')
    await restart // its server was gone for a while: the client may have given up
    await ready()
    await eventually(
      'the deployment has ended',
      90,
      () => driver.run(['curl', '/v3/deployments?order_by=-created_at&per_page=1']),
      ({ stdout }) => stdout.includes('"DEPLOYED"'),
    )
    const { failures } = await load.stop()
    expect(failures).toEqual([])
    const after = await eventually('both new instances answer', 30, instances, (guids) => guids.length === 2)
    expect(after.filter((guid) => before.includes(guid))).toEqual([])
  })

  it('the launcher: everything goes on, and the next start takes over without a restart', async () => {
    const before = await instances()
    const pids = () =>
      (['control', 'cell', 'postgres', 'redis'] as const).map((role) => headOf(findRole(platform.home, role)).pid)
    const held = pids()
    const load = startLoad(platform.httpPort, 'steady.apps.localhost')
    platform.killLauncher()
    await pause(1000)
    await platform.startAgain()
    const { failures } = await load.stop()
    expect(failures).toEqual([])
    expect(pids()).toEqual(held)
    expect(await instances()).toEqual(before)
  })

  it('a build under way when its stager dies is staged again or explained, and never hangs', async () => {
    const push = driver.run(['push', 'slow', '-p', folder(nodeApp("res.end('slow')")), '-m', '64M', '-b', 'nodejs_buildpack'], {
      timeoutMs: 240_000,
    })
    await eventually(
      'its build is under way',
      60,
      () => driver.run(['curl', '/v3/builds?states=STAGING']),
      ({ stdout }) => stdout.includes('"STAGING"'),
    )
    process.kill(headOf(findRole(platform.home, 'control')).pid, 'SIGKILL')
    await push // the client may give up: its server was gone
    await ready()
    await eventually(
      'the build has ended',
      180,
      () => driver.run(['curl', '/v3/builds?states=STAGING']),
      ({ stdout }) => /"total_results":\s*0/.test(stdout),
    )
    expect((await driver.ok(['curl', '/v3/builds?order_by=-created_at&per_page=1'])).stdout).toMatch(/"STAGED"|"error":\s*"[A-Z]/)
  })

  it('leaves nothing behind when it is stopped', async () => {
    await platform.stop({ keep: true })
    await eventually(
      'all processes ended',
      10,
      async () => processesOf(platform.home),
      (left) => left.length === 0,
    )
  })
})
