import { openDriver, type Driver } from './drivers.js'
import { folder, nodeApp, versionedApp } from './fixtures.js'
import { startLoad } from './load.js'
import { eventually, startPlatform, type Platform } from './platform.js'

describe('changes under constant load', () => {
  let platform: Platform
  let driver: Driver
  beforeAll(async () => {
    platform = await startPlatform({ engine: 'docker' })
    driver = await openDriver('bloom', platform)
  })
  afterAll(async () => {
    driver?.close()
    await platform?.stop()
  })
  const running = (name: string, version: string) =>
    eventually(
      `${name} is ${version}`,
      60,
      () => platform.request(`${name}.apps.localhost`),
      ({ body }) => body.startsWith(version),
    )

  it.each([1, 4])('a rolling restart and a rolling push of %d instance(s) fail no request', async (instances) => {
    const name = `rolling-${instances}`
    await driver.ok(['push', name, '-p', folder(versionedApp('v1')), '-m', '64M', '-i', String(instances)])
    await running(name, 'v1')
    const load = startLoad(platform.httpPort, `${name}.apps.localhost`)
    await driver.ok(['restart', name, '--strategy', 'rolling'])
    await driver.ok(['push', name, '-p', folder(versionedApp('v2')), '-m', '64M', '--strategy', 'rolling'])
    await running(name, 'v2')
    const { requests, failures } = await load.stop()
    expect(requests).toBeGreaterThan(100)
    expect(failures).toEqual([])
    await driver.ok(['delete', name, '-f', '-r'])
  })

  it('blue-green by hand fails no request', async () => {
    await driver.ok(['push', 'blue', '-p', folder(versionedApp('blue')), '-m', '64M'])
    const load = startLoad(platform.httpPort, 'blue.apps.localhost')
    await driver.ok(['push', 'green', '-p', folder(versionedApp('green')), '-m', '64M'])
    await driver.ok(['map-route', 'green', 'apps.localhost', '--hostname', 'blue'])
    await driver.ok(['unmap-route', 'blue', 'apps.localhost', '--hostname', 'blue'])
    await driver.ok(['delete', 'blue', '-f'])
    await running('blue', 'green')
    const { requests, failures } = await load.stop()
    expect(requests).toBeGreaterThan(100)
    expect(failures).toEqual([])
    await driver.ok(['delete', 'green', '-f', '-r'])
  })

  it('a new version that crashes at start leaves the old one serving, and says why', async () => {
    await driver.ok(['push', 'steady', '-p', folder(versionedApp('good')), '-m', '64M'])
    await running('steady', 'good')
    const load = startLoad(platform.httpPort, 'steady.apps.localhost')
    const bad = folder(nodeApp('', "throw new Error('no such configuration')"))
    const outcome = await driver.run(['push', 'steady', '-p', bad, '-m', '64M', '--strategy', 'rolling'], {
      env: { CF_STARTUP_TIMEOUT: '0.4', BLOOM_STARTUP_TIMEOUT: '0.4' },
    })
    expect(outcome.code).not.toBe(0)
    const { failures } = await load.stop()
    expect(failures).toEqual([])
    expect((await platform.request('steady.apps.localhost')).body).toMatch(/^good/)
    await driver.run(['delete', 'steady', '-f', '-r'])
  })
})
