import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises'
import { createServer, type AddressInfo, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, type ConnectionOptions, type PeerCertificate } from 'node:tls'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import {
  createAuthority,
  issueInstanceCertificate,
  issueNodeIdentity,
  secureContextOf,
  type CertificateAuthority,
} from '@bloomery/pki'
import { eventually } from '@bloomery/testing'
import { silentLogger } from '@bloomery/telemetry'
import { InstanceCertificates } from './instance-certificates.js'
import { TlsForwarder } from './tls-forwarder.js'

const GUID = '0f2a0bd0-1111-4222-8333-0123456789ab'
let nodes: CertificateAuthority
let instances: CertificateAuthority
let folder: string
let app: Server
let asked: string[]
let isApiAway: boolean
let now: number

beforeEach(async () => {
  nodes = await createAuthority()
  instances = await createAuthority()
  folder = await mkdtemp(join(tmpdir(), 'bloomery-instance-certificates-'))
  app = createServer({ allowHalfOpen: true }, (socket) => {
    let text = ''
    socket.on('data', (chunk: Buffer) => (text += chunk.toString()))
    // Answers after the end of what it was sent.
    socket.on('end', () => socket.end(`got ${text}`))
  })
  await new Promise<void>((resolve) => app.listen(0, '127.0.0.1', resolve))
  asked = []
  isApiAway = false
  now = Date.now()
})
const closing: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closing.splice(0)) await close()
  await new Promise((resolve) => app.close(resolve))
  await rm(folder, { recursive: true })
})

const newCertificates = (): InstanceCertificates =>
  new InstanceCertificates({
    folder,
    issue: async (instanceGuid, csrPem) => {
      asked.push(instanceGuid)
      if (isApiAway) throw new Error('the api is away')
      return {
        certificatePem: await issueInstanceCertificate(instances, csrPem, { instanceGuid, units: ['app:a'] }),
        authorityPem: instances.certificatePem,
      }
    },
    log: silentLogger,
    now: () => now,
  })

async function start(certificates = newCertificates()): Promise<number> {
  const identity = await issueNodeIdentity(nodes, { role: 'cell', nodeId: 'c1' })
  await certificates.restore()
  const { port } = app.address() as AddressInfo
  const forwarder = new TlsForwarder({
    listen: { host: '127.0.0.1', port: 0 },
    identity: () => identity,
    certificates,
    addressOf: (guid, internal) => (guid === GUID && internal === 8080 ? { host: '127.0.0.1', port } : undefined),
    log: silentLogger,
  })
  closing.push(() => forwarder.close())
  return forwarder.listen()
}

/** What comes back through the forwarder and who has answered; or why nothing does. */
async function ask(
  port: number,
  servername: string,
  as: 'router' | 'stager' | undefined,
  more: ConnectionOptions = {},
): Promise<string> {
  const identity = as && (await issueNodeIdentity(nodes, { role: as, nodeId: 'n1' }))
  return new Promise((resolve) => {
    const { ca: _ca, ...own } = identity ? secureContextOf(identity) : { ca: undefined }
    const options = {
      ...own,
      ...more,
      port,
      host: '127.0.0.1',
      servername,
      ca: instances.certificatePem,
      checkServerIdentity: (_name: string, { subjectaltname }: PeerCertificate) =>
        subjectaltname === `DNS:${GUID}` ? undefined : new Error(`shown: ${String(subjectaltname)}`),
      allowHalfOpen: true,
    }
    const socket = connect(options)
    let text = ''
    socket.on('data', (chunk: Buffer) => (text += chunk.toString()))
    socket.on('error', () => resolve('refused'))
    socket.on('close', () => resolve(text || 'closed'))
    socket.end('hello')
  })
}

describe('TLS for the instances of a cell', () => {
  it('leads routers to the instance that they name, which shows who it is; both directions end by themselves', async () => {
    const port = await start()
    expect(await ask(port, `8080.${GUID}`, 'router')).toBe('got hello')
    expect(await ask(port, `8080.${GUID}`, 'router', { maxVersion: 'TLSv1.2' })).toBe('got hello')
    expect(asked).toEqual([GUID])
  })

  it.each([
    ['an instance of another cell', '8080.0f2a0bd0-1111-4222-8333-000000000000', 'router'],
    ['a port that the instance does not have', `22.${GUID}`, 'router'],
    ['a peer that is no router', `8080.${GUID}`, 'stager'],
    ['a peer without a certificate', `8080.${GUID}`, undefined],
  ] as const)('refuses %s', async (_case, name, as) => {
    expect(await ask(await start(), name, as)).not.toMatch(/got/)
  })

  it('goes on without the api, and after a start of the agent; keys are readable by this user only', async () => {
    const certificates = newCertificates()
    await certificates.restore()
    await certificates.get(GUID)
    const [file = ''] = await readdir(folder)
    expect((await stat(join(folder, file))).mode & 0o777).toBe(0o600)
    isApiAway = true
    expect(await ask(await start(), `8080.${GUID}`, 'router')).toBe('got hello')
    expect(asked).toEqual([GUID])
  })

  it('renews in the last third of a certificate’s life, with the old one in service until then', async () => {
    const certificates = newCertificates()
    await certificates.restore()
    const first = await certificates.get(GUID)
    now += 17 * 3_600_000
    isApiAway = true
    expect(await certificates.get(GUID)).toBe(first)
    await eventually(() => asked.length === 2)
    isApiAway = false
    await eventually(async () => (await certificates.get(GUID)) !== first)
    const { certificatePem } = await certificates.get(GUID)
    await eventually(async () => (await readFile(join(folder, `${GUID}.json`), 'utf8')).includes(JSON.stringify(certificatePem)))
    await certificates.keepOnly(new Set())
    expect(await readdir(folder)).toEqual([])
  })
})
