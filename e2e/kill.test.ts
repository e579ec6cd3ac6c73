import { openDriver, type Driver } from './drivers.js'
import { folder, versionedApp } from './fixtures.js'
import { startLoad } from './load.js'
import { eventually, startPlatform, type Platform } from './platform.js'
import { findRole, processesOf, type ROLE_COMMANDS } from './processes.js'

describe('kill -9, one after another, under constant load', () => {
  let platform: Platform
  let driver: Driver
  beforeAll(async () => {
    platform = await startPlatform({ engine: 'docker' })
    driver = await openDriver('bloom', platform)
    await driver.ok(['push', 'steady', '-p', folder(versionedApp('v1')), '-m', '64M', '-i', '2'])
    await eventually(
      'both instances run',
      60,
      () => driver.ok(['app', 'steady']),
      ({ stdout }) => /2\/2/.test(stdout),
    )
  })
  afterAll(async () => {
    driver?.close()
    await platform?.stop()
  })

  const ready = () =>
    eventually(
      'a push would work again',
      30,
      () => platform.request('localhost', '/healthz'),
      ({ status }) => status === 200,
    )
  const guids = async () => (await driver.ok(['curl', '/v3/processes?per_page=100'])).stdout
  const instanceOf = async () => {
    const seen = new Set<string>()
    for (let i = 0; i < 12; i++)
      seen.add(
        (JSON.parse((await platform.request('steady.apps.localhost', '/env')).body) as Record<string, string>)[
          'CF_INSTANCE_GUID'
        ] ?? '',
      )
    return [...seen].sort()
  }

  it.each<keyof typeof ROLE_COMMANDS>(['control', 'cell', 'routerHolder', 'postgres', 'redis'])(
    '%s: no request fails, nothing restarts, pushes work within 10 s',
    async (role) => {
      const before = await instanceOf()
      const victims = findRole(platform.home, role)
      expect(victims.length).toBeGreaterThan(0)
      // Of a family of processes, its head.
      const victim = victims.find(({ parent }) => !victims.some(({ pid }) => pid === parent)) ?? victims[0]!
      const load = startLoad(platform.httpPort, 'steady.apps.localhost')
      await new Promise((wait) => setTimeout(wait, 500))
      process.kill(victim.pid, 'SIGKILL')
      await eventually(
        `another ${role} runs`,
        20,
        async () => findRole(platform.home, role),
        (found) => found.length > 0 && found.every(({ pid }) => pid !== victim.pid),
      )
      const restarted = Date.now()
      await ready()
      expect(Date.now() - restarted).toBeLessThan(10_000)
      await driver.ok(['push', 'after-kill', '-p', folder(versionedApp('after')), '-m', '64M'])
      const { requests, failures } = await load.stop()
      expect({ role, requests: requests > 100, failures }).toEqual({ role, requests: true, failures: [] })
      expect(await instanceOf()).toEqual(before)
      expect(await guids()).toContain('"web"')
    },
  )

  it('a router worker: only what was open on it may fail, and no connection is refused', async () => {
    const worker = findRole(platform.home, 'routerWorker')[0] ?? findRole(platform.home, 'routerHolder').at(-1)!
    const load = startLoad(platform.httpPort, 'steady.apps.localhost', { connections: 4 })
    await new Promise((wait) => setTimeout(wait, 500))
    process.kill(worker.pid, 'SIGKILL')
    await new Promise((wait) => setTimeout(wait, 3000))
    const { failures } = await load.stop()
    expect(failures.length).toBeLessThanOrEqual(4)
    expect(failures.filter(({ what }) => what.includes('ECONNREFUSED'))).toEqual([])
    await ready()
  })

  it('the launcher: everything goes on, and the next start takes over without a restart', async () => {
    const before = await instanceOf()
    const roles = () =>
      (['control', 'cell', 'postgres', 'redis'] as const).map((role) => findRole(platform.home, role).map(({ pid }) => pid))
    const pids = roles()
    const load = startLoad(platform.httpPort, 'steady.apps.localhost')
    platform.killLauncher()
    await new Promise((wait) => setTimeout(wait, 1500))
    await platform.startAgain()
    const { failures } = await load.stop()
    expect(failures).toEqual([])
    expect(roles()).toEqual(pids)
    expect(await instanceOf()).toEqual(before)
  })

  it('a build under way when its stager dies is staged again or explained, and never hangs', async () => {
    const slow = {
      ...versionedApp('slow'),
      'package.json': JSON.stringify({
        name: 'slow',
        version: '1.0.0',
        private: true,
        scripts: { start: 'node server.js', 'heroku-postbuild': 'sleep 8' },
      }),
    }
    const push = driver.run(['push', 'slow', '-p', folder(slow), '-m', '64M'], { timeoutMs: 180_000 })
    await eventually(
      'its build is under way',
      60,
      () => driver.run(['curl', '/v3/builds?states=STAGING']),
      ({ stdout }) => stdout.includes('"STAGING"'),
    )
    process.kill(findRole(platform.home, 'control')[0]!.pid, 'SIGKILL')
    await push // the client may give up: its server was gone
    await ready()
    await eventually(
      'the build has ended',
      120,
      () => driver.run(['curl', '/v3/builds?states=STAGING']),
      ({ stdout }) => /"total_results":\s*0/.test(stdout),
    )
    expect((await driver.ok(['curl', '/v3/builds?states=STAGED,FAILED&order_by=-created_at&per_page=1'])).stdout).toMatch(
      /"STAGED"|"error":\s*"[A-Z]/,
    )
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
