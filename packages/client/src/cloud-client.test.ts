import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type CloudClient } from './cloud-client.js'
import { configPath, readConfig, writeConfig } from './config-file.js'
import { FakeCloud, json } from './fake-cloud.fixture.js'
import { tailLogs } from './logs.js'
import { openClient } from './open-client.js'
import { stagePackage, waitUntilStarted } from './start-app.js'

let cloud: FakeCloud
let client: CloudClient | undefined
const warnings: string[] = []
const log = async (credentials = { kind: 'password' as const, username: 'admin', password: 'right' }): Promise<CloudClient> => {
  client = await openClient({ api: cloud.url, credentials, onWarning: (text) => warnings.push(text) })
  return client
}
beforeEach(async () => {
  cloud = new FakeCloud()
  await cloud.open()
})
afterEach(async () => {
  await client?.close()
  client = undefined
  await cloud.close()
})

const envelope = (timestamp: bigint, text: string) => ({
  timestamp: String(timestamp),
  source_id: 'app',
  instance_id: '0',
  deprecated_tags: {},
  tags: { source_type: 'APP/PROC/WEB' },
  log: { payload: Buffer.from(text).toString('base64'), type: 'OUT' },
})

describe('the client', () => {
  it('tells rejected credentials from a platform that is not there', async () => {
    await expect(log({ kind: 'password', username: 'admin', password: 'wrong' })).rejects.toMatchObject({
      kind: 'credentials-rejected',
    })
    cloud.on('GET /', (_request, response) => json(response, 200, { hello: 'world' }))
    await expect(log()).rejects.toThrow('not as a Cloud Foundry API')
    await expect(
      openClient({ api: 'http://127.0.0.1:1', credentials: { kind: 'client', id: 'a', secret: 'b' } }),
    ).rejects.toMatchObject({
      kind: 'unreachable',
    })
  })

  it('renews a token with less than a minute to live, once for many requests', async () => {
    cloud.tokenSeconds = 59
    const opened = await log()
    cloud.tokenSeconds = 3600
    cloud.on('GET /v3/x', (request, response) => json(response, 200, { sent: request.headers.authorization }))
    const answers = await Promise.all([1, 2, 3].map(() => opened.get<{ sent: string }>('/v3/x')))
    expect(cloud.issued).toBe(2)
    expect(new Set(answers.map(({ sent }) => sent)).size).toBe(1)
    expect(answers[0]?.sent).toMatch(/^bearer ey/)
  })

  it('says to log in again when the refresh token is refused', async () => {
    cloud.tokenSeconds = 1
    const opened = await log()
    cloud.on('POST /oauth/token', (_request, response) => json(response, 401, { error: 'invalid_token' }))
    await expect(opened.get('/v3/x')).rejects.toMatchObject({ kind: 'not-logged-in' })
  })

  it('walks all pages by their links', async () => {
    const opened = await log()
    cloud.on('GET /v3/apps', (request, response) => {
      const page = Number(new URL(request.url ?? '', cloud.url).searchParams.get('page') ?? 1)
      const next = page < 3 ? { href: `${cloud.url}/v3/apps?page=${page + 1}` } : null
      json(response, 200, { pagination: { next }, resources: [{ guid: `app-${page}` }] })
    })
    expect(await opened.list('/v3/apps', { names: ['a,b', 'c'] })).toEqual([
      { guid: 'app-1' },
      { guid: 'app-2' },
      { guid: 'app-3' },
    ])
    expect(cloud.requests).toContain('GET /v3/apps?per_page=200&names=a%252Cb%2Cc')
  })

  it('gives CF’s errors with code, title and detail', async () => {
    const opened = await log()
    await expect(opened.get('/v3/nothing')).rejects.toMatchObject({
      status: 404,
      code: 10000,
      title: 'CF-NotFound',
      detail: 'Unknown request',
    })
  })

  it('repeats what may be repeated when a gateway fails, and a POST never', async () => {
    const opened = await log()
    let asked = 0
    cloud.on('GET /v3/x', (_request, response) => (++asked < 3 ? json(response, 503, {}) : json(response, 200, { asked })))
    cloud.on('POST /v3/x', (_request, response) => json(response, 503, { asked: ++asked }))
    expect(await opened.get('/v3/x')).toEqual({ asked: 3 })
    await expect(opened.post('/v3/x')).rejects.toMatchObject({ status: 503 })
    expect(asked).toBe(4)
  })

  it('waits for jobs and gives their errors and warnings', async () => {
    const opened = await log()
    let polls = 0
    cloud.on(
      'DELETE /v3/apps/a',
      (_request, response) => void response.writeHead(202, { location: `${cloud.url}/v3/jobs/j` }).end(),
    )
    cloud.on('GET /v3/jobs/j', (request, response) => {
      expect(request.headers['prefer']).toBe('wait=2')
      json(response, 200, { guid: 'j', state: ++polls < 3 ? 'PROCESSING' : 'COMPLETE', warnings: [{ detail: 'mind the gap' }] })
    })
    await opened.complete('DELETE', '/v3/apps/a')
    expect(polls).toBe(3)
    expect(warnings).toContain('mind the gap')
    cloud.on('GET /v3/jobs/j', (_request, response) =>
      json(response, 200, {
        guid: 'j',
        state: 'FAILED',
        errors: [{ code: 10008, title: 'CF-UnprocessableEntity', detail: 'no room' }],
      }),
    )
    await expect(opened.complete('DELETE', '/v3/apps/a')).rejects.toMatchObject({ code: 10008, message: 'no room' })
  })

  it('decodes the warnings of the header', async () => {
    const opened = await log()
    cloud.on('GET /v3/x', (_request, response) => json(response, 200, {}, { 'x-cf-warnings': 'one%2C+two,three%20four' }))
    await opened.get('/v3/x')
    expect(warnings).toEqual(expect.arrayContaining(['one, two', 'three four']))
  })

  it('follows logs without a gap or a repetition, over failures', async () => {
    const opened = await log()
    const stored = Array.from({ length: 30 }, (_, i) => ({
      timestamp: 1_700_000_000_000_000_000n + BigInt(i),
      text: `line ${i}`,
    }))
    let reads = 0
    cloud.on('GET /api/v1/read/app', (request, response) => {
      if (++reads === 2) return json(response, 500, {})
      const start = BigInt(new URL(request.url ?? '', cloud.url).searchParams.get('start_time') ?? '0')
      const batch = stored.filter(({ timestamp }) => timestamp >= start).slice(0, 7)
      return json(response, 200, {
        envelopes: {
          batch: batch.map(({ timestamp, text }) => envelope(timestamp, text)),
        },
      })
    })
    const stop = new AbortController()
    const seen: string[] = []
    for await (const { text } of tailLogs(opened, 'app', { from: 0n, signal: stop.signal })) {
      if (seen.push(text) === 30) stop.abort()
    }
    expect(seen).toEqual(stored.map(({ text }) => text))
  })

  it('goes on with a log where it was when the platform was away, and repeats nothing that is sent twice', async () => {
    const opened = await log()
    const failures: unknown[] = []
    let reads = 0
    cloud.on('GET /api/v1/read/app', (request, response) => {
      expect(request.headers['prefer']).toBe('wait=5')
      reads++
      if (reads === 2 || reads === 3) return void response.destroy()
      // All that there is, whatever was asked for.
      return json(response, 200, {
        envelopes: { batch: Array.from({ length: reads }, (_, i) => envelope(BigInt(i), `line ${i}`)) },
      })
    })
    const stop = new AbortController()
    const seen: string[] = []
    const onFailure = (error: unknown): void => void failures.push(error)
    for await (const { text } of tailLogs(opened, 'app', { from: 0n, signal: stop.signal, onFailure })) {
      if (seen.push(text) === 6) stop.abort()
    }
    expect(seen).toEqual(['line 0', 'line 1', 'line 2', 'line 3', 'line 4', 'line 5'])
    expect(failures).toEqual([])
  })

  it('gives up a log that is not there at once, and one that cannot be read after a while', async () => {
    const opened = await log()
    const { signal } = new AbortController()
    const follow = async (patienceMs?: number): Promise<void> => {
      for await (const entry of tailLogs(opened, 'app', { signal, ...(patienceMs === undefined ? {} : { patienceMs }) }))
        expect(entry).toBeDefined()
    }
    await expect(follow()).rejects.toMatchObject({ status: 404 })
    cloud.on('GET /api/v1/read/app', (_request, response) => json(response, 500, {}))
    await expect(follow(300)).rejects.toMatchObject({ status: 500 })
  })

  it('gives a failed build’s reason, and the crash of all instances at once', async () => {
    const opened = await log()
    cloud.on('POST /v3/builds', (_request, response) => json(response, 201, { guid: 'b' }))
    cloud.on('GET /v3/builds/b', (_request, response) =>
      json(response, 200, { guid: 'b', state: 'FAILED', error: 'NoAppDetectedError - none', droplet: null }),
    )
    cloud.on('GET /api/v1/read/app', (_request, response) => json(response, 200, {}))
    await expect(stagePackage(opened, 'app', 'p')).rejects.toMatchObject({
      kind: 'staging-failed',
      message: 'NoAppDetectedError - none',
    })
    cloud.on('GET /v3/apps/app/processes', (_request, response) =>
      json(response, 200, { resources: [{ guid: 'w', type: 'web' }] }),
    )
    cloud.on('GET /v3/processes/w/stats', (_request, response) =>
      json(response, 200, { resources: [{ index: 0, state: 'CRASHED', details: 'Exited with status 1 (out of memory)' }] }),
    )
    await expect(waitUntilStarted(opened, 'app')).rejects.toThrow('out of memory')
    cloud.on('GET /v3/processes/w/stats', (_request, response) => json(response, 200, { resources: [] }))
    await waitUntilStarted(opened, 'app')
  })
})

describe('the configuration file', () => {
  it('is its owner’s alone, and reads back the same', async () => {
    const home = await mkdtemp(join(tmpdir(), 'bloom-home-'))
    try {
      const path = configPath(home)
      expect(await readConfig(path)).toEqual({ skipSslValidation: false })
      const config = { skipSslValidation: true, tokens: { accessToken: 'a', refreshToken: 'b' }, space: { guid: 'g', name: 'n' } }
      await writeConfig(path, config)
      expect(await readConfig(path)).toEqual(config)
      expect((await stat(path)).mode & 0o777).toBe(0o600)
    } finally {
      await rm(home, { recursive: true, force: true })
    }
  })
})
