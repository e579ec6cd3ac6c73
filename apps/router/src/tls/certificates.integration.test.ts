import { mkdtempSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:https'
import { request } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from 'node:tls'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import {
  createAuthority,
  issueServerCertificate,
  makeTestIdentity,
  serverTlsOptions,
  type CertificateAuthority,
} from '@bloomery/pki'
import { silentLogger } from '@bloomery/telemetry'
import { anEndpoint, aRoute } from '../fake-scheduler.fixture.js'
import { startBackend, startPlane, type TestPlane } from '../proxy/data-plane.fixture.js'
import { CertificateStore, namesOf } from './certificate-store.js'
import { followCertificateFolder } from './folder-certificates.js'
import { followPlatformCertificates } from './platform-certificates.js'

let dir: string
let authority: CertificateAuthority
let plane: TestPlane
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'bloomery-tls-'))
  authority = await createAuthority({ name: 'Test' })
  plane = await startPlane()
})
afterAll(async () => {
  await plane.close()
  rmSync(dir, { recursive: true, force: true })
})

/** Common names of the certificate that a client of that name is shown; undefined when the handshake fails. */
const shownTo = (servername: string): Promise<string[] | undefined> =>
  new Promise((resolve) => {
    const options = { port: plane.httpsPort, host: '127.0.0.1', rejectUnauthorized: false, ...(servername ? { servername } : {}) }
    const socket = connect(options, () => {
      resolve(namesOf(socket.getPeerX509Certificate()?.toString() ?? ''))
      socket.destroy()
    })
    socket.once('error', () => resolve(undefined))
  })
const write = async (dir: string, name: string, ...names: string[]): Promise<void> => {
  const { certificatePem, privateKeyPem } = await issueServerCertificate(authority, names)
  writeFileSync(join(dir, `${name}.key`), privateKeyPem)
  writeFileSync(join(dir, `${name}.crt.new`), certificatePem)
  renameSync(join(dir, `${name}.crt.new`), join(dir, `${name}.crt`))
}
const eventually = async (check: () => Promise<boolean>): Promise<void> => {
  const deadline = Date.now() + 10_000
  while (!(await check())) {
    if (Date.now() > deadline) throw new Error('not in time')
    await delay(50)
  }
}

describe('certificates of a folder', () => {
  it('are chosen by name, exact before wildcard, and read again when they change', async () => {
    await write(dir, 'a', '*.apps.test', '127.0.0.1')
    await write(dir, 'b', 'one.apps.test')
    writeFileSync(join(dir, 'broken.crt'), 'no certificate')
    const following = await followCertificateFolder(dir, plane.certificates, silentLogger)
    expect(await shownTo('one.apps.test')).toEqual(['one.apps.test'])
    expect(await shownTo('two.apps.test')).toContain('*.apps.test')
    expect(await shownTo('')).toContain('127.0.0.1')
    expect(await shownTo('unknown.test')).toContain('*.apps.test')
    await write(dir, 'b', 'one.apps.test', 'more.test')
    await eventually(async () => (await shownTo('more.test'))?.includes('more.test') === true)
    following.close()
  })

  it('carry requests as https', async () => {
    const backend = await startBackend((message, response) => response.end(String(message.headers['x-forwarded-proto'])))
    plane.table.change([aRoute('one.apps.test', [anEndpoint({ port: backend.port })])], [], { epoch: '1', revision: 1 })
    const body = await new Promise<string>((resolve, reject) => {
      request(
        {
          port: plane.httpsPort,
          host: '127.0.0.1',
          servername: 'one.apps.test',
          ca: authority.certificatePem,
          headers: { host: 'one.apps.test' },
          agent: false,
        },
        (response) => response.once('data', (chunk: Buffer) => resolve(String(chunk))),
      )
        .once('error', reject)
        .end()
    })
    expect(body).toBe('https')
    await backend.close()
  })
})

describe('certificates of the platform', () => {
  it('come from the api, are kept on disk for this user alone, and serve the next start without it', async () => {
    const router = await makeTestIdentity('router')
    const api = await makeTestIdentity('api', { authority: router.authority })
    const issued = { names: ['*.platform.test'], ...(await issueServerCertificate(authority, ['*.platform.test'])) }
    const server = createServer(serverTlsOptions(api.identity), (message, response) => {
      response.writeHead(message.url === '/internal/ingress-certificates' ? 200 : 404).end(JSON.stringify([issued]))
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const cacheFile = join(dir, 'ingress.json')
    const options = {
      url: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
      identity: () => router.identity,
      cacheFile,
      log: silentLogger,
    }
    const first = new CertificateStore()
    const following = await followPlatformCertificates({ ...options, store: first })
    await eventually(async () => first.find('a.platform.test') !== undefined)
    await eventually(async () => statSync(cacheFile, { throwIfNoEntry: false }) !== undefined)
    following.close()
    expect(statSync(cacheFile).mode & 0o777).toBe(0o600)
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))

    const second = new CertificateStore()
    const again = await followPlatformCertificates({ ...options, store: second })
    expect(second.find('A.platform.test')).toBeDefined()
    expect(second.find('a.b.platform.test')).toBeUndefined()
    again.close()
  })
})
