import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, createServer as createTlsServer } from 'node:tls'
import type { JoinRequest, NodeIdentity } from '@bloomery/contracts'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import {
  clientTlsOptions,
  createAuthority,
  createJoinToken,
  createNodeKeyAndCsr,
  ensureNodeIdentity,
  ingressNames,
  isDueForRenewal,
  issueNodeCertificate,
  issueServerCertificate,
  joinNode,
  JoinRefusedError,
  keepIdentityFresh,
  loadNodeIdentity,
  makeTestIdentity,
  parseCommonName,
  peerOf,
  remainingLifetime,
  saveNodeIdentity,
  serverTlsOptions,
  type CertificateAuthority,
} from './index.js'

const open: { close(): unknown }[] = []
let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'bloomery-pki-'))
})
afterEach(() => {
  for (const each of open.splice(0)) each.close()
  rmSync(dir, { recursive: true })
})

const portOf = (server: { address(): unknown }): number => (server.address() as AddressInfo).port

/** An api that issues certificates for one token, and counts. */
async function startApi(authority: CertificateAuthority, tokens: Set<string>, days?: number): Promise<string> {
  const { identity } = await makeTestIdentity('api', { authority })
  const server: Server = createServer(serverTlsOptions(identity, { anonymous: true }), (request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const body = JSON.parse(Buffer.concat(chunks).toString()) as JoinRequest
      const peer = peerOf(request.socket)
      const name =
        request.url === '/internal/renew' ? peer : tokens.delete(body.token) && { role: body.role, nodeId: body.nodeId ?? 'x' }
      if (!name) {
        response.writeHead(401).end(JSON.stringify({ errors: [{ detail: 'The join token is not known.' }] }))
        return
      }
      void issueNodeCertificate(authority, body.csrPem, { ...name, ...(days === undefined ? {} : { days }) }).then(
        (certificatePem) =>
          response.end(JSON.stringify({ nodeId: name.nodeId, certificatePem, authorityPem: authority.certificatePem })),
      )
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  open.push({ close: () => (server.closeAllConnections(), server.close()) })
  return `https://127.0.0.1:${portOf(server)}`
}

async function handshake(server: NodeIdentity, client: NodeIdentity): Promise<string> {
  const listener = createTlsServer(serverTlsOptions(server), (socket) => {
    const peer = peerOf(socket)
    socket.on('error', () => undefined)
    socket.end(`${peer?.role ?? ''}:${peer?.nodeId ?? ''}`)
  })
  listener.on('tlsClientError', () => undefined)
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve))
  open.push(listener)
  return new Promise((resolve, reject) => {
    const socket = connect({ ...clientTlsOptions(client, server.role), host: '127.0.0.1', port: portOf(listener) })
    let text = ''
    socket.on('data', (chunk: Buffer) => (text += chunk.toString()))
    socket.on('end', () => resolve(text))
    socket.on('error', reject)
  })
}

describe('node certificates', () => {
  it('let two nodes of one authority recognise each other', async () => {
    const { identity: scheduler, authority } = await makeTestIdentity('scheduler')
    const { identity: cell } = await makeTestIdentity('cell', { nodeId: 'c1', authority })
    expect(await handshake(scheduler, cell)).toBe('cell:c1')
  })

  it('are refused by nodes of another authority', async () => {
    const { identity: scheduler } = await makeTestIdentity('scheduler')
    const { identity: stranger } = await makeTestIdentity('cell')
    await expect(handshake(scheduler, stranger)).rejects.toThrow()
  })

  it('are refused in another role than the client expects', async () => {
    const { identity: cell, authority } = await makeTestIdentity('cell')
    const { identity: router } = await makeTestIdentity('router', { authority })
    await expect(handshake({ ...cell, role: 'scheduler' }, router)).rejects.toThrow(/altname|Hostname/)
  })

  it('take nothing but the key from the request', async () => {
    const authority = await createAuthority()
    const { csrPem } = await createNodeKeyAndCsr({ role: 'api', nodeId: 'evil' })
    const certificatePem = await issueNodeCertificate(authority, csrPem, { role: 'cell', nodeId: 'c1' })
    saveNodeIdentity(dir, {
      role: 'cell',
      nodeId: 'c1',
      certificatePem,
      privateKeyPem: 'k',
      authorityPem: authority.certificatePem,
    })
    expect(loadNodeIdentity(dir)).toMatchObject({ role: 'cell', nodeId: 'c1' })
    expect(statSync(join(dir, 'node.key')).mode & 0o777).toBe(0o600)
  })

  it.each(['', 'cell', 'cell:', 'king:c1', 'cell:a b', ':c1'])('are not known by the name %j', (name) => {
    expect(parseCommonName(name)).toBeUndefined()
  })

  it('know when to be renewed', async () => {
    const { identity } = await makeTestIdentity('cell', { days: 9 })
    const day = 86_400_000
    expect(remainingLifetime(identity.certificatePem)).toBeGreaterThan(8.9 * day)
    expect(isDueForRenewal(identity.certificatePem)).toBe(false)
    expect(isDueForRenewal(identity.certificatePem, Date.now() + 7 * day)).toBe(true)
  })
})

describe('ingress certificates', () => {
  it.each(['api.bloomery.localhost', 'hello.apps.localhost', 'localhost', 'bloomery.localhost'])(
    'serve %s',
    async (servername) => {
      const authority = await createAuthority({ name: 'Ingress' })
      const pair = await issueServerCertificate(authority, ingressNames({ system: 'bloomery.localhost', apps: 'apps.localhost' }))
      const server = createTlsServer({ cert: pair.certificatePem, key: pair.privateKeyPem }, (socket) => socket.end('hello'))
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
      open.push(server)
      const socket = connect({ host: '127.0.0.1', port: portOf(server), servername, ca: authority.certificatePem })
      await new Promise<void>((resolve, reject) => socket.once('secureConnect', resolve).once('error', reject))
      expect(socket.authorized).toBe(true)
      socket.destroy()
    },
  )
})

describe('joining', () => {
  it('spends a token once', async () => {
    const authority = await createAuthority()
    const { token } = createJoinToken(authority.certificatePem)
    const url = await startApi(authority, new Set([token]))
    const identity = await joinNode({ url, token, role: 'cell', nodeId: 'c1', dir })
    expect(loadNodeIdentity(dir)).toEqual(identity)
    await expect(joinNode({ url, token, role: 'cell', nodeId: 'c2', dir })).rejects.toThrow(JoinRefusedError)
  })

  it('tells nothing to a platform of another authority', async () => {
    const tokens = new Set<string>()
    const url = await startApi(await createAuthority(), tokens)
    const { token } = createJoinToken((await createAuthority()).certificatePem)
    tokens.add(token)
    await expect(joinNode({ url, token, role: 'cell', nodeId: 'c1', dir })).rejects.toThrow(/another authority/)
    expect(tokens.has(token)).toBe(true)
  })

  it('waits for the token file, and joins anew when the platform was made anew', async () => {
    const [first, second] = [await createAuthority(), await createAuthority()]
    const tokens = new Set<string>()
    const joinTokenFile = join(dir, 'cell.token')
    const waits: string[] = []
    const join1 = { role: 'cell', nodeId: 'c1', dir, joinTokenFile, onWaiting: (why: string) => waits.push(why) } as const
    const url = await startApi(first, tokens)
    const waiting = ensureNodeIdentity({
      ...join1,
      joinUrl: url,
      onWaiting: (why) => {
        waits.push(why)
        const { token } = createJoinToken(first.certificatePem)
        tokens.add(token)
        writeFileSync(joinTokenFile, token)
      },
    })
    const identity = await waiting
    expect(waits).toHaveLength(1)
    expect((await ensureNodeIdentity({ ...join1, joinUrl: url })).certificatePem).toBe(identity.certificatePem)
    const { token } = createJoinToken(second.certificatePem)
    writeFileSync(joinTokenFile, token)
    const renewed = await ensureNodeIdentity({ ...join1, joinUrl: await startApi(second, new Set([token])) })
    expect(renewed.authorityPem).toBe(second.certificatePem)
  })

  it('says what is missing instead of waiting for ever', async () => {
    await expect(ensureNodeIdentity({ role: 'cell', nodeId: 'c1', dir })).rejects.toThrow(/BLOOMERY_JOIN_TOKEN/)
  })

  it('renews in the last third of the life', async () => {
    const authority = await createAuthority()
    const url = await startApi(authority, new Set())
    const { identity } = await makeTestIdentity('cell', { nodeId: 'c1', authority, days: 0.001 })
    const renewed = await new Promise<NodeIdentity>((resolve, reject) => {
      open.push(keepIdentityFresh({ identity, dir, url, onRenewed: resolve, onFailed: reject }))
    })
    expect(renewed.privateKeyPem).not.toBe(identity.privateKeyPem)
    expect(remainingLifetime(renewed.certificatePem)).toBeGreaterThan(80 * 86_400_000)
    expect(loadNodeIdentity(dir)).toEqual(renewed)
  })
})
