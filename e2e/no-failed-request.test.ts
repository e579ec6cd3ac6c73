import { openDriver, type Driver } from './drivers.js'
import { folder, TINY, tinyApp } from './fixtures.js'
import { startLoad } from './load.js'
import { eventually, startPlatform, type Platform } from './platform.js'

describe('changes under constant load', () => {
  let platform: Platform
  let driver: Driver
  beforeAll(async () => {
    platform = await startPlatform({ engine: 'docker', env: { BLOOMERY_SAMPLE: 'no' } })
    driver = await openDriver('bloom', platform)
  })
  afterAll(async () => {
    driver?.close()
    await platform?.stop()
  })
  const push = (name: string, version: string, ...options: string[]) =>
    driver.ok(['push', name, '-p', folder(tinyApp(version)), ...TINY, ...options])
  const answers = (name: string, version: string) =>
    eventually(
      `${name} is ${version}`,
      60,
      () => platform.request(`${name}.apps.localhost`),
      ({ body }) => body.startsWith(version),
    )
  /** Callers of quick and of slow answers, with new connections and with kept ones, while `change` goes on. */
  const underLoad = async (name: string, change: () => Promise<unknown>) => {
    const host = `${name}.apps.localhost`
    const loads = [
      startLoad(platform.httpPort, host, { connections: 4 }),
      startLoad(platform.httpPort, host, { connections: 2, keepAlive: true }),
      startLoad(platform.httpPort, host, { connections: 2, path: '/slow' }),
    ]
    await change()
    const results = await Promise.all(loads.map((load) => load.stop()))
    expect(results.flatMap(({ failures }) => failures)).toEqual([])
    expect(results.reduce((sum, { requests }) => sum + requests, 0)).toBeGreaterThan(100)
  }

  it.each([1, 4])('a rolling restart and a rolling push of %d instance(s) fail no request', async (instances) => {
    await push('rolling', `old-${instances}`, '-i', String(instances))
    await answers('rolling', `old-${instances}`)
    await underLoad('rolling', async () => {
      await driver.ok(['restart', 'rolling', '--strategy', 'rolling'])
      await push('rolling', `new-${instances}`, '--strategy', 'rolling')
      await eventually(
        'only the new version answers',
        60,
        () => Promise.all(Array.from({ length: 8 }, () => platform.request('rolling.apps.localhost'))),
        (seen) => seen.every(({ body }) => body.startsWith(`new-${instances}`)),
      )
    })
  })

  it('blue-green by hand fails no request', async () => {
    await push('blue', 'blue')
    await answers('blue', 'blue')
    await underLoad('blue', async () => {
      await push('green', 'green')
      await driver.ok(['map-route', 'green', 'apps.localhost', '--hostname', 'blue'])
      await driver.ok(['unmap-route', 'blue', 'apps.localhost', '--hostname', 'blue'])
      await driver.ok(['delete', 'blue', '-f'])
      await answers('blue', 'green')
    })
  })

  it('a new version that crashes at start leaves the old one serving, and says why', async () => {
    await underLoad('blue', async () => {
      const bad = folder({ ...tinyApp('bad'), 'server.py': "raise SystemExit('no such configuration')\n" })
      const outcome = await driver.run(['push', 'green', '-p', bad, ...TINY, '--strategy', 'rolling'], {
        env: { CF_STARTUP_TIMEOUT: '0.3', BLOOM_STARTUP_TIMEOUT: '0.3' },
      })
      expect(outcome.code).not.toBe(0)
      expect(outcome.all).toMatch(/crashed \(APP\/PROC\/WEB: Exited with status 1/)
      // bloom cancels what it gives up.
      await eventually(
        'the deployment has ended',
        60,
        () => driver.ok(['curl', '/v3/deployments?order_by=-created_at&per_page=1']),
        ({ stdout }) => stdout.includes('"CANCELED"'),
      )
      expect((await driver.ok(['events', 'green'])).stdout).toContain('app.process.crash')
    })
    expect((await platform.request('blue.apps.localhost')).body).toMatch(/^green/)
  })
})
