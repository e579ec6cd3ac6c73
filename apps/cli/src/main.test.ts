import { readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { json } from '@bloomery/client/testing'
import { anApp, Bloom, serveApp } from './bloom.fixture.js'
import { VERBS } from './verbs.js'

let bloom: Bloom
beforeEach(async () => {
  bloom = new Bloom()
  await bloom.open()
})
afterEach(() => bloom.close())

const config = async (): Promise<{ tokens?: { accessToken: string; refreshToken: string }; space?: unknown }> =>
  JSON.parse(await readFile(join(bloom.home, '.bloom/config.json'), 'utf8')) as never

describe('help', () => {
  it('lists every verb, and tells of each', async () => {
    const { code, stdout } = await bloom.run('help')
    expect(code).toBe(0)
    for (const { name, flags } of VERBS) {
      expect(stdout).toContain(`   ${name} `)
      const verb = await bloom.run(`help ${name}`)
      expect(verb.code).toBe(0)
      expect(verb.stdout).toContain(`Usage: bloom ${name}`)
      for (const { long } of Object.values(flags)) if (long !== undefined) expect(verb.stdout).toContain(`--${long}`)
      expect((await bloom.run(`${name} --help`)).stdout).toBe(verb.stdout)
    }
  })
  it('tells its version', async () => {
    expect(await bloom.run('version')).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^bloom version \d+\.\d+\.\d+\n$/),
    })
  })
  it('suggests what was meant', async () => {
    expect(await bloom.run('psuh')).toEqual({
      code: 1,
      stdout: '',
      stderr: "'psuh' is no verb of bloom. See 'bloom help'.\n\nDid you mean?\n    push\n",
    })
    const wrong = await bloom.run('scale shop --instnces 2')
    expect(wrong.code).toBe(1)
    expect(wrong.stderr).toContain('Incorrect Usage: unknown flag --instnces; did you mean --instances?')
    expect(wrong.stdout).toMatch(/^FAILED\n[^]*Usage: bloom scale APP_NAME/)
  })
})

describe('logging in', () => {
  it('keeps the login where only its owner reads it, and the only org and space', async () => {
    const { code, stdout } = await bloom.run(`login -a ${bloom.cloud.url} -u admin -p right`)
    expect(code).toBe(0)
    expect(stdout).toContain('org:            acme')
    expect((await stat(join(bloom.home, '.bloom/config.json'))).mode & 0o777).toBe(0o600)
    expect(await config()).toMatchObject({ space: { guid: 's', name: 'dev' } })
  })
  it('refuses with a reason', async () => {
    expect(await bloom.run(`login -a ${bloom.cloud.url} -u admin -p wrong`)).toMatchObject({
      code: 1,
      stdout: expect.stringMatching(/FAILED\n$/),
      stderr: expect.stringContaining('Credentials were rejected (Bad credentials)'),
    })
    expect((await bloom.run(`login -a ${bloom.cloud.url}`)).stderr).toContain('answer with -u')
    expect((await bloom.run('login -a http://127.0.0.1:1 -u a -p b')).stderr).toContain('ECONNREFUSED')
    expect((await bloom.run('apps')).stderr).toContain('bloom login -a URL')
    bloom.list('/v3/organizations', [])
    const { stderr } = await bloom.run(`login -a ${bloom.cloud.url} -u admin -p right -o gone`)
    expect(stderr).toContain("The org 'gone' was not found")
  })
  it('takes user and password from the environment', async () => {
    bloom.env = { ...bloom.env, BLOOM_USERNAME: 'admin', BLOOM_PASSWORD: 'right' }
    expect((await bloom.run(`login -a ${bloom.cloud.url}`)).code).toBe(0)
  })
  it('asks on a terminal, three times, and shows nothing of the password', async () => {
    bloom.isTTY = true
    const stdin = new PassThrough()
    const answers = ['admin', 'wrong', 'wrong', 'right']
    let given = 0
    const asking = setInterval(() => {
      const asked = bloom.stdout.match(/(User|Password)> /g)?.length ?? 0
      if (asked > given) stdin.write(`${answers[given++] ?? ''}\n`)
    }, 5)
    const { code, stdout } = await bloom.run(`login -a ${bloom.cloud.url}`, { stdin })
    clearInterval(asking)
    expect(code).toBe(0)
    expect(stdout).not.toContain('wrong')
    expect(stdout.match(/Password> /g)).toHaveLength(3)
  })
  it('keeps a token that was renewed, and forgets all at logout', async () => {
    bloom.cloud.tokenSeconds = 1
    await bloom.login()
    const before = await config()
    bloom.cloud.tokenSeconds = 3600
    serveApp(bloom)
    await bloom.run('app shop --guid')
    const after = await config()
    expect(after.tokens?.accessToken).not.toBe(before.tokens?.accessToken)
    expect(after.space).toEqual(before.space)
    expect((await bloom.run('logout')).code).toBe(0)
    expect(await config()).not.toHaveProperty('tokens')
  })
})

describe('looking at apps', () => {
  beforeEach(() => bloom.login())

  it('lists them in columns', async () => {
    bloom.list('/v3/apps', [anApp(), anApp('a-longer-name', 'STOPPED')])
    bloom.list('/v3/processes', [
      { type: 'worker', process_instances: [], relationships: { app: { data: { guid: 'shop-guid' } } } },
      {
        type: 'web',
        process_instances: [{ state: 'RUNNING' }, { state: 'DOWN' }],
        relationships: { app: { data: { guid: 'shop-guid' } } },
      },
    ])
    bloom.list('/v3/routes', [{ url: 'shop.apps.localhost', destinations: [{ app: { guid: 'shop-guid' } }] }])
    expect((await bloom.run('apps')).stdout).toBe(
      [
        'Getting apps in org acme / space dev as admin...',
        '',
        'name            requested state   processes              routes',
        'shop            started           web:1/2, worker:0/0    shop.apps.localhost',
        'a-longer-name   stopped',
        '',
      ]
        .join('\n')
        .replaceAll('processes              routes', 'processes             routes')
        .replaceAll('worker:0/0    shop', 'worker:0/0   shop'),
    )
  })
  it('shows one with its instances, in colours on a terminal alone', async () => {
    serveApp(bloom)
    const plain = await bloom.run('app shop')
    expect(plain.stdout).toMatch(/#0 {3}running {3}\S+Z {3}1\.5% {3}1M of 64M {3}0B of 1G {3}0B\/s of unlimited\s+true\n/)
    expect(plain.stdout).not.toContain('\u001b')
    bloom.isTTY = true
    expect((await bloom.run('app shop')).stdout).toContain('\u001b[')
    bloom.env = { ...bloom.env, NO_COLOR: '1' }
    expect((await bloom.run('app shop')).stdout).not.toContain('\u001b')
  })
  it('says which app is not there, and where', async () => {
    bloom.list('/v3/apps', [])
    expect(await bloom.run('app nowhere')).toMatchObject({
      code: 1,
      stderr: "App 'nowhere' not found in space dev of org acme. See: bloom apps\n",
    })
    expect(await bloom.run('delete nowhere -f')).toMatchObject({ code: 0, stderr: "App 'nowhere' does not exist.\n" })
  })
  it('tells all that the API refuses, and what to do', async () => {
    bloom.answer('GET /v3/apps', 401, { errors: [{ code: 1000, title: 'CF-InvalidAuthToken', detail: 'Invalid Auth Token' }] })
    expect((await bloom.run('apps')).stderr).toContain('Invalid Auth Token\nLog in again with: bloom login')
    const two = ['one', 'two'].map((detail) => ({ code: 10008, title: 'CF-UnprocessableEntity', detail }))
    bloom.answer('GET /v3/apps', 422, { errors: two })
    expect((await bloom.run('apps')).stderr).toContain('- one\n- two\n')
  })
})

describe('changing apps', () => {
  beforeEach(async () => {
    await bloom.login()
    serveApp(bloom)
  })
  const sent = (): string[] => bloom.cloud.requests.filter((each) => !each.startsWith('GET'))

  it('restages before it stops what runs', async () => {
    bloom.list('/v3/packages', [{ guid: 'p' }])
    bloom.answer('GET /api/v1/read/shop-guid', 200, {})
    bloom.answer('POST /v3/builds', 201, { guid: 'b' })
    bloom.answer('GET /v3/builds/b', 200, { guid: 'b', state: 'STAGED', droplet: { guid: 'd' } })
    bloom.answer('PATCH /v3/apps/shop-guid/relationships/current_droplet', 200, {})
    for (const action of ['stop', 'start']) bloom.answer(`POST /v3/apps/shop-guid/actions/${action}`, 200, {})
    expect((await bloom.run('restage shop')).code).toBe(0)
    expect(sent()).toEqual([
      'POST /v3/builds',
      'POST /v3/apps/shop-guid/actions/stop',
      'PATCH /v3/apps/shop-guid/relationships/current_droplet',
      'POST /v3/apps/shop-guid/actions/start',
    ])
    bloom.answer('GET /v3/builds/b', 200, { guid: 'b', state: 'FAILED', error: 'BuildpackCompileFailed - no', droplet: null })
    bloom.cloud.requests.length = 0
    expect(await bloom.run('restage shop')).toMatchObject({ code: 1, stderr: 'BuildpackCompileFailed - no\n' })
    expect(sent()).toEqual(['POST /v3/builds'])
  })
  it('restarts by a deployment', async () => {
    let asked: unknown
    bloom.list('/v3/packages', [])
    bloom.cloud.on('POST /v3/deployments', (_request, response, body) => {
      asked = JSON.parse(body.toString())
      json(response, 201, { guid: 'dep' })
    })
    const deployed = { guid: 'dep', strategy: 'rolling', status: { value: 'FINALIZED', reason: 'DEPLOYED' }, new_processes: [] }
    bloom.answer('GET /v3/deployments/dep', 200, deployed)
    expect((await bloom.run('restart shop --strategy rolling --max-in-flight 2')).code).toBe(0)
    expect(asked).toEqual({
      strategy: 'rolling',
      options: { max_in_flight: 2 },
      relationships: { app: { data: { guid: 'shop-guid' } } },
    })
    expect((await bloom.run('restart shop --strategy sideways')).stderr).toContain('rolling or canary')
  })
  it('scales what is named, and restarts only after a yes', async () => {
    let asked: unknown
    bloom.cloud.on('POST /v3/apps/shop-guid/processes/web/actions/scale', (_request, response, body) => {
      asked = JSON.parse(body.toString())
      json(response, 202, {})
    })
    expect((await bloom.run('scale shop -i 3')).code).toBe(0)
    expect(asked).toEqual({ instances: 3 })
    expect((await bloom.run('scale shop -m 1G')).stderr).toContain('answer with -f')
    for (const action of ['stop', 'start']) bloom.answer(`POST /v3/apps/shop-guid/actions/${action}`, 200, {})
    expect((await bloom.run('scale shop -m 1G -l -1 -f')).code).toBe(0)
    expect(asked).toEqual({ memory_in_mb: 1024, log_rate_limit_in_bytes_per_second: -1 })
    expect((await bloom.run('scale shop -m much -f')).stderr).toContain("'much' is no size")
  })
  it('says that an instance crashed, with its summary, and ends with 1', async () => {
    bloom.answer('POST /v3/apps/shop-guid/actions/start', 200, {})
    bloom.list('/v3/apps', [anApp('shop', 'STOPPED')])
    bloom.list('/v3/packages', [])
    bloom.answer('GET /v3/processes/shop-guid/stats', 200, {
      resources: [{ index: 0, state: 'CRASHED', details: 'Exited with status 3' }],
    })
    const { code, stdout, stderr } = await bloom.run('start shop')
    expect(code).toBe(1)
    expect(stdout).toMatch(/#0 {3}crashed[^]*FAILED\n$/)
    expect(stderr).toContain('Exited with status 3')
  })
})

describe('curl', () => {
  beforeEach(() => bloom.login())

  it('prints whatever comes, and ends with 22 when it is told to mind', async () => {
    bloom.answer('GET /v3/x', 404, { errors: [] })
    expect(await bloom.run('curl /v3/x')).toMatchObject({ code: 0, stdout: '{"errors":[]}\n' })
    expect(await bloom.run('curl /v3/x -f')).toMatchObject({ code: 22, stderr: 'The requested URL returned error: 404\n' })
    expect((await bloom.run('curl v3/x -i')).stdout).toMatch(/^HTTP\/1\.1 404\n[^]*content-type: application\/json\n/)
  })
  it('sends data and headers, from a file too, and writes to one', async () => {
    bloom.cloud.on('PATCH /v3/x', (request, response, body) =>
      json(response, 200, {
        body: body.toString(),
        header: request.headers['x-a'],
        token: request.headers.authorization?.slice(0, 9),
      }),
    )
    await writeFile(join(bloom.home, 'data.json'), '{"a":1}')
    await bloom.run(['curl', '-X', 'patch', '/v3/x', '-d', '@data.json', '-H', 'X-A: b', '--output', 'out.json'])
    expect(JSON.parse(await readFile(join(bloom.home, 'out.json'), 'utf8'))).toEqual({
      body: '{"a":1}',
      header: 'b',
      token: 'bearer ey',
    })
  })
})

describe('logs', () => {
  const line = (second: number, text: string, type = 'OUT') => ({
    timestamp: `${1_700_000_000 + second}123456789`,
    source_id: 'shop-guid',
    instance_id: '0',
    deprecated_tags: {},
    tags: { source_type: 'APP/PROC/WEB' },
    log: { payload: Buffer.from(text).toString('base64'), type },
  })
  beforeEach(async () => {
    await bloom.login()
    serveApp(bloom)
  })

  it('prints the newest, oldest first, a head for each line', async () => {
    bloom.answer('GET /api/v1/read/shop-guid', 200, { envelopes: { batch: [line(2, 'c', 'ERR'), line(1, 'a\nb\n')] } })
    const { stdout } = await bloom.run('logs shop --recent')
    expect(stdout.split('\n').slice(2)).toEqual([
      expect.stringMatching(/^ {3}2023-11-1\dT\d\d:\d\d:\d1\.12[+-]\d{4} \[APP\/PROC\/WEB\/0\] OUT a$/),
      expect.stringMatching(/ OUT b$/),
      expect.stringMatching(/ ERR c$/),
      '',
    ])
  })
  it('follows until Ctrl-C, which is its proper end', async () => {
    const stop = new AbortController()
    bloom.cloud.on('GET /api/v1/read/shop-guid', (request, response) => {
      const query = new URL(request.url ?? '', bloom.cloud.url).searchParams
      const batch = query.get('descending')
        ? []
        : [line(1, 'hello')].filter((each) => BigInt(each.timestamp) >= BigInt(query.get('start_time') ?? 0))
      json(response, 200, { envelopes: { batch } })
      if (!query.get('descending') && batch.length === 0) stop.abort()
    })
    const { code, stdout } = await bloom.run('logs shop', { signal: stop.signal })
    expect(code).toBe(0)
    expect(stdout.match(/OUT hello/g)).toHaveLength(1)
  })
  it('gives up what is no log at Ctrl-C', async () => {
    const stop = new AbortController()
    bloom.cloud.on('GET /v3/audit_events', () => stop.abort())
    expect((await bloom.run('events shop', { signal: stop.signal })).code).toBe(130)
  })
})
