import { existsSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { request } from 'node:https'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { openBlobstore } from '@bloomery/blobstore'
import type { NodeIdentity } from '@bloomery/contracts'
import { clientTlsOptions, joinNode, JoinRefusedError, renewNodeIdentity } from '@bloomery/pki'
import { loadKeyring } from '@bloomery/secrets'
import { eventually, withPostgres, withRedis } from '@bloomery/testing'
import { startApi } from './main.js'

const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const { port } = probe.address() as { port: number }
      probe.close(() => resolve(port))
    })
  })

describe('the api role', () => {
  const postgres = withPostgres({ migrated: false })
  const redis = withRedis()
  const folder = mkdtempSync(join(tmpdir(), 'bloomery-api-main-'))
  const tokens = join(folder, 'tokens')
  let env: Record<string, string>
  let api: { close(): Promise<void> }
  let url = ''
  let internalUrl = ''
  beforeAll(async () => {
    const [port, internalPort] = [await freePort(), await freePort()]
    url = `http://127.0.0.1:${port}`
    internalUrl = `https://127.0.0.1:${internalPort}`
    env = {
      DATABASE_URL: postgres.url,
      REDIS_URL: redis.url,
      BLOBSTORE_URL: `file:${join(folder, 'blobs')}`,
      BLOOMERY_BLOBS_URL: internalUrl,
      BLOOMERY_KEYRING_FILE: join(folder, 'keyring.json'),
      BLOOMERY_API_LISTEN: `127.0.0.1:${port}`,
      BLOOMERY_API_INTERNAL_LISTEN: `127.0.0.1:${internalPort}`,
      BLOOMERY_LOGS_URL: 'https://127.0.0.1:1',
      BLOOMERY_INSTALLATION_ID: 'test',
      BLOOMERY_ADMIN_PASSWORD: 'first',
      BLOOMERY_BOOTSTRAP_TOKENS_DIR: tokens,
    }
    api = await startApi(env)
  }, 60_000)
  afterAll(async () => {
    await api.close()
    rmSync(folder, { recursive: true, force: true })
  })
  const tokenOf = (role: string) => readFileSync(join(tokens, role, 'token'), 'utf8').trim()
  const logIn = async (password: string) =>
    fetch(`${url}/oauth/token`, {
      method: 'POST',
      headers: { authorization: `Basic ${btoa('cf:')}` },
      body: new URLSearchParams({ grant_type: 'password', username: 'admin', password }),
    })
  const get = (address: string, identity?: NodeIdentity, ca?: string): Promise<{ status: number; text: string }> =>
    new Promise((resolve, reject) => {
      const tls = identity ? clientTlsOptions(identity, 'api') : { ca, servername: 'api.bloomery.internal' }
      request(address, { ...tls, agent: false }, (response) => {
        let text = ''
        response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
        response.on('end', () => resolve({ status: response.statusCode ?? 0, text }))
      })
        .on('error', reject)
        .end()
    })

  it('seeds an installation and answers where everything is', async () => {
    const root = (await (await fetch(url)).json()) as { links: Record<string, { href: string; meta?: { version: string } }> }
    expect(root.links['cloud_controller_v3']?.meta?.version).toBe('3.215.0')
    expect(new Set(['login', 'uaa', 'log_cache'].map((name) => root.links[name]?.href))).toEqual(new Set([url]))
    const { access_token: token } = (await (await logIn('first')).json()) as { access_token: string }
    const names = async (path: string) => {
      const answer = await fetch(`${url}${path}`, { headers: { authorization: `bearer ${token}` } })
      const { resources } = (await answer.json()) as { resources: { name: string }[] }
      return resources.map(({ name }) => name)
    }
    expect(await names('/v3/organizations')).toEqual(['bloomery'])
    expect(await names('/v3/spaces')).toEqual(['dev'])
    expect(await names('/v3/domains')).toEqual(['apps.localhost'])
    expect(await names('/v3/organization_quotas')).toEqual(['default'])
  })

  it('links by the name under which it was asked, if that is one of its own', async () => {
    const linksUnder = async (host: string) => {
      const text = await new Promise<string>((resolve, reject) => {
        const { port } = new URL(url)
        void import('node:http').then(({ get: ask }) =>
          ask({ host: '127.0.0.1', port, headers: { host, 'x-forwarded-proto': 'https' } }, (response) => {
            let body = ''
            response.setEncoding('utf8').on('data', (chunk: string) => (body += chunk))
            response.on('end', () => resolve(body))
          }).on('error', reject),
        )
      })
      return (JSON.parse(text) as { links: Record<string, { href: string }> }).links
    }
    const named = await linksUnder('api.bloomery.localhost:8443')
    expect([named['self']?.href, named['login']?.href, named['log_cache']?.href]).toEqual([
      'https://api.bloomery.localhost:8443',
      'https://login.bloomery.localhost:8443',
      'https://log-cache.bloomery.localhost:8443',
    ])
    expect((await linksUnder('evil.example.com'))['self']?.href).toBe('http://api.bloomery.localhost:8080')
  })

  it('tells what is missing while a push would not work', async () => {
    const answer = await fetch(`${url}/healthz`)
    expect([answer.status, await answer.json()]).toEqual([
      503,
      { ready: false, checks: { database: true, redis: true, scheduler: false, stager: false, cells: false, logs: false } },
    ])
  })

  it('lets nodes join once per token, renews their certificates, and writes new tokens', async () => {
    const token = tokenOf('router')
    expect(statSync(join(tokens, 'router', 'token')).mode & 0o777).toBe(0o600)
    const join_ = (role: 'router' | 'cell', dir: string) =>
      joinNode({ url: internalUrl, token, role, nodeId: 'r1', dir: join(folder, dir) })
    await expect(join_('cell', 'wrong-role')).rejects.toThrow(JoinRefusedError)
    const router = await join_('router', 'r1')
    await expect(join_('router', 'again')).rejects.toThrow(JoinRefusedError)
    await eventually(() => tokenOf('router') !== token)
    const renewed = await renewNodeIdentity({ url: internalUrl, identity: router, dir: join(folder, 'r1') })
    expect(renewed.certificatePem).not.toBe(router.certificatePem)

    const certificates = JSON.parse((await get(`${internalUrl}/internal/ingress-certificates`, renewed)).text) as {
      names: string[]
    }[]
    expect(certificates).toMatchObject([
      {
        names: expect.arrayContaining(['*.bloomery.localhost', '*.apps.localhost', 'localhost']),
        privateKeyPem: expect.stringContaining('PRIVATE KEY'),
      },
    ])
    expect(await get(`${internalUrl}/internal/ingress-certificates`, undefined, router.authorityPem)).toMatchObject({
      status: 401,
    })
    const cell = await joinNode({ url: internalUrl, token: tokenOf('cell'), role: 'cell', nodeId: 'c1', dir: join(folder, 'c1') })
    expect(await get(`${internalUrl}/internal/ingress-certificates`, cell)).toMatchObject({ status: 403 })

    const blobs = await openBlobstore(env['BLOBSTORE_URL'] ?? '', {
      blobsUrl: internalUrl,
      signingKey: () => loadKeyring(env['BLOOMERY_KEYRING_FILE'] ?? '').derive('blob-addresses'),
    })
    await blobs.put('droplets/d1', Readable.from(['the droplet']))
    const address = await blobs.signedUrl('droplets/d1', 60)
    expect(await get(address, undefined, router.authorityPem)).toEqual({ status: 200, text: 'the droplet' })
    expect(await get(address.replace('d1', 'd2'), undefined, router.authorityPem)).toMatchObject({ status: 403 })
    expect(await get(await blobs.signedUrl('droplets/none', 60), undefined, router.authorityPem)).toMatchObject({ status: 404 })
  })

  it('keeps what there is at the next start, takes a changed admin password, and deleted things stay deleted', async () => {
    const { access_token: token } = (await (await logIn('first')).json()) as { access_token: string }
    const authorized = { headers: { authorization: `bearer ${token}` } }
    await fetch(`${url}/v3/spaces`, authorized)
      .then((answer) => answer.json() as Promise<{ resources: { guid: string }[] }>)
      .then(({ resources }) => fetch(`${url}/v3/spaces/${resources[0]?.guid ?? ''}`, { method: 'DELETE', ...authorized }))
    await eventually(async () => {
      const { resources } = (await (await fetch(`${url}/v3/spaces`, authorized)).json()) as { resources: unknown[] }
      return resources.length === 0
    })
    await api.close()
    api = await startApi({ ...env, BLOOMERY_ADMIN_PASSWORD: 'second' })
    expect((await logIn('first')).status).toBe(401)
    expect((await logIn('second')).status).toBe(200)
    const spaces = (await (await fetch(`${url}/v3/spaces`, authorized)).json()) as { resources: unknown[] }
    expect(spaces.resources).toEqual([])
    expect(existsSync(join(tokens, 'scheduler', 'token'))).toBe(true)
  }, 60_000)
})
