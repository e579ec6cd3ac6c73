import { openDriver, type Driver } from './drivers.js'
import { folder, nodeApp, versionedApp } from './fixtures.js'
import { eventually, startPlatform, type Platform } from './platform.js'

describe('wrong input gets a clear error and leaves nothing half-made', () => {
  let platform: Platform
  let driver: Driver
  beforeAll(async () => {
    platform = await startPlatform({ engine: 'docker', env: { BLOOMERY_MAX_PACKAGE_MB: '20' } })
    driver = await openDriver('bloom', platform)
  })
  afterAll(async () => {
    driver?.close()
    await platform?.stop()
  })
  const refused = async (
    args: readonly string[],
    message: RegExp,
    options: { cwd?: string; env?: Record<string, string> } = {},
  ) => {
    const outcome = await driver.run(args, options)
    expect({ code: outcome.code === 0 ? 0 : 1, all: outcome.all }).toEqual({
      code: 1,
      all: expect.stringMatching(message) as string,
    })
    expect(outcome.all).not.toMatch(/\n\s+at .*\.(js|ts):\d+/)
  }
  const api = (path: string, options: { method?: string; body?: string; token?: string; type?: string } = {}) =>
    platform.request('localhost', path, {
      ...(options.method ? { method: options.method } : {}),
      headers: {
        'content-type': options.type ?? 'application/json',
        ...(options.token === undefined ? {} : { authorization: `bearer ${options.token}` }),
      },
      ...(options.body === undefined ? {} : { body: options.body }),
    })

  it('an unknown buildpack', () =>
    refused(
      ['push', 'wrong', '-p', folder(versionedApp('v1')), '-b', 'no_such_buildpack'],
      /no_such_buildpack.*must be an existing admin buildpack or a valid git URI/s,
    ))
  it('a manifest that is no YAML', () =>
    refused(['push', '-f', 'manifest.yml'], /manifest/i, {
      cwd: folder({ 'manifest.yml': 'applications:\n- name: [unclosed\n  memory: "64M\n' }),
    }))
  it('a manifest with a wrong value', () =>
    refused(['push', '-f', 'manifest.yml'], /memory/i, {
      cwd: folder({ ...versionedApp('v1'), 'manifest.yml': 'applications:\n- name: wrong\n  memory: much\n' }),
    }))
  it('a source that no buildpack knows', () =>
    refused(['push', 'unknown', '-p', folder({ 'notes.txt': 'nothing to run' })], /NoAppDetectedError|not successfully detected/))
  it('an app that never listens', () =>
    refused(
      ['push', 'deaf', '-p', folder({ ...nodeApp(''), 'server.js': 'setInterval(() => {}, 1000)\n' }), '-m', '64M', '-t', '5'],
      /crash|never healthy|unsuccessful|timeout/i,
    ))
  it('an app that crashes at start', () =>
    refused(
      ['push', 'crashing', '-p', folder({ ...nodeApp(''), 'server.js': 'process.exit(3)\n' }), '-m', '64M'],
      /crash|unsuccessful/i,
    ))

  it('an app over its memory, told as such', async () => {
    await driver.ok([
      'push',
      'hungry',
      '-p',
      folder(
        nodeApp(`if (req.url === '/eat') { global.all = []; for (;;) global.all.push(Buffer.alloc(8 << 20, 1)) } res.end('fed')`),
      ),
      '-m',
      '96M',
    ])
    await platform.request('hungry.apps.localhost', '/eat', { timeoutMs: 20_000 })
    await eventually(
      'the crash tells of memory',
      40,
      () => driver.ok(['events', 'hungry']),
      ({ stdout }) => /out of memory/i.test(stdout),
    )
    await driver.run(['delete', 'hungry', '-f', '-r'])
  })

  it('names and routes that are taken', async () => {
    await driver.ok(['push', 'first', '-p', folder(versionedApp('v1')), '-m', '64M'])
    await driver.ok(['push', 'second', '-p', folder(versionedApp('v1')), '-m', '64M'])
    const apps = JSON.parse((await driver.ok(['curl', '/v3/apps?names=second'])).stdout) as {
      resources: { guid: string; relationships: { space: { data: { guid: string } } } }[]
    }
    const taken = await driver.ok(['curl', '-X', 'PATCH', `/v3/apps/${apps.resources[0]!.guid}`, '-d', '{"name":"first"}'])
    expect(taken.stdout).toContain("App with the name 'first' already exists.")
    const { resources } = JSON.parse((await driver.ok(['curl', '/v3/organizations?names=bloomery'])).stdout) as {
      resources: { guid: string }[]
    }
    await driver.ok([
      'curl',
      '-X',
      'POST',
      '/v3/spaces',
      '-d',
      JSON.stringify({ name: 'other', relationships: { organization: { data: { guid: resources[0]!.guid } } } }),
    ])
    await driver.ok(['target', '-s', 'other'])
    await refused(['push', 'thief', '-p', folder(versionedApp('v1')), '-f', 'manifest.yml'], /route/i, {
      cwd: folder({
        ...versionedApp('v1'),
        'manifest.yml': 'applications:\n- name: thief\n  path: .\n  routes:\n  - route: first.apps.localhost\n',
      }),
    })
    await driver.ok(['target', '-s', 'dev'])
  })

  it('a wrong, an expired and a missing token', async () => {
    for (const token of ['nonsense', 'eyJhbGciOiJub25lIn0.eyJ1c2VyX2lkIjoiYWRtaW4iLCJleHAiOjE5OTk5OTk5OTl9.', undefined]) {
      const answer = await api('/v3/apps', token === undefined ? {} : { token })
      expect(answer.status).toBe(401)
      expect(JSON.parse(answer.body)).toEqual({
        errors: [expect.objectContaining({ title: token === undefined ? 'CF-NotAuthenticated' : 'CF-InvalidAuthToken' })],
      })
    }
  })

  it('an upload over the limit', async () => {
    const big = Buffer.alloc(24 << 20)
    for (let i = 0; i < big.length; i += 4) big.writeUInt32LE((Math.imul(i, 2654435761) ^ (i >>> 3)) >>> 0, i)
    await refused(['push', 'big', '-p', folder({ ...versionedApp('v1'), 'big.bin': big.toString('latin1') })], /too large|limit/i)
  })

  it('more instances than the quota has room for', async () => {
    await driver.ok([
      'curl',
      '-X',
      'POST',
      '/v3/organization_quotas',
      '-d',
      '{"name":"tight","apps":{"total_memory_in_mb":1024,"total_instances":2}}',
    ])
    const quota = (
      JSON.parse((await driver.ok(['curl', '/v3/organization_quotas?names=tight'])).stdout) as { resources: { guid: string }[] }
    ).resources[0]!.guid
    const org = (
      JSON.parse((await driver.ok(['curl', '-X', 'POST', '/v3/organizations', '-d', '{"name":"tight"}'])).stdout) as {
        guid: string
      }
    ).guid
    await driver.ok([
      'curl',
      '-X',
      'POST',
      `/v3/organization_quotas/${quota}/relationships/organizations`,
      '-d',
      JSON.stringify({ data: [{ guid: org }] }),
    ])
    await driver.ok([
      'curl',
      '-X',
      'POST',
      '/v3/spaces',
      '-d',
      JSON.stringify({ name: 'dev', relationships: { organization: { data: { guid: org } } } }),
    ])
    await driver.ok(['target', '-o', 'tight', '-s', 'dev'])
    await driver.ok(['push', 'bounded', '-p', folder(versionedApp('v1')), '-m', '64M'])
    await refused(['scale', 'bounded', '-i', '3'], /instance/i)
    await driver.ok(['target', '-o', 'bloomery', '-s', 'dev'])
  })
})
