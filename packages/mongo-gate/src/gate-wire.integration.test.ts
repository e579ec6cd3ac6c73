import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { eventually } from '@bloomery/testing'
import { deserialize, serialize, type Binary, type Document } from 'bson'
import fc from 'fast-check'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createGate, type Gate } from './gate.js'
import { makeVerifier } from './scram.js'
import { frame, message, query, saslContinue, saslStart, scramClient, WireClient } from './wire-client.fixture.js'
import { encodeReply } from './wire.js'

/** Stands where the server is: keeps what reaches it, and answers as told. */
class Behind {
  readonly heard: Document[] = []
  readonly frames: Buffer[] = []
  answer: (socket: Socket, requestId: number, body: Document) => void = (socket, requestId) =>
    void socket.write(encodeReply({ form: 'msg', requestId }, { ok: 1, n: this.heard.length }))
  readonly server: Server = createServer((socket) => {
    let unread = Buffer.alloc(0)
    socket.on('error', () => undefined)
    socket.on('data', (chunk: Buffer) => {
      unread = Buffer.concat([unread, chunk])
      while (unread.length >= 16 && unread.length >= unread.readInt32LE(0)) {
        const whole = unread.subarray(0, unread.readInt32LE(0))
        unread = unread.subarray(whole.length)
        this.frames.push(whole)
        const body = deserialize(whole.subarray(21, 21 + whole.readInt32LE(21)), { validation: { utf8: false } })
        this.heard.push(body)
        this.answer(socket, whole.readInt32LE(4), body)
      }
    })
  })
}

describe('a gate, byte by byte', () => {
  const folder = mkdtempSync(join(tmpdir(), 'bloomery-gate-'))
  let behind: Behind
  let gate: Gate
  let port: number
  let client: WireClient
  const clients: WireClient[] = []
  beforeAll(async () => {
    behind = new Behind()
    await new Promise<void>((resolve) => behind.server.listen(join(folder, 's'), resolve))
    gate = createGate({
      database: 'own',
      upstreamPath: join(folder, 's'),
      users: new Map([['alice', await makeVerifier('secret')]]),
      maxConnections: 30,
      framePatienceMs: 400,
    })
    port = await gate.listen({ host: '127.0.0.1', port: 0 })
  })
  afterAll(async () => {
    for (const each of clients) each.close()
    await gate.close()
    behind.server.close()
    rmSync(folder, { recursive: true })
  })
  const open = async (loggedIn = true): Promise<WireClient> => {
    const opened = await WireClient.open(port)
    clients.push(opened)
    if (loggedIn) expect((await opened.logIn('own', 'alice', 'secret'))?.['done']).toBe(true)
    return opened
  }
  beforeEach(async () => {
    behind.heard.length = 0
    behind.frames.length = 0
    client = await open()
  })
  const find = { find: 'a', $db: 'own' }

  it('greets in the form that it is greeted in, with the one way to log in', async () => {
    const stranger = await open(false)
    const old = await stranger.ask(query('admin.$cmd', { isMaster: 1, saslSupportedMechs: 'own.nobody' }))
    expect(old).toMatchObject({ ismaster: true, maxWireVersion: 9, saslSupportedMechs: ['SCRAM-SHA-256'], ok: 1, responseTo: 1 })
    const now = await stranger.ask(message({ hello: 1, $db: 'admin' }, { flags: 1 << 16, requestId: 77 }))
    expect(now).toMatchObject({ isWritablePrimary: true, ok: 1, responseTo: 77 })
    expect(now).not.toHaveProperty('logicalSessionTimeoutMinutes')
    expect(now).not.toHaveProperty('topologyVersion')
  })

  it('logs in by the old form, too, and with the empty last message that some drivers send', async () => {
    const stranger = await open(false)
    const login = scramClient('alice', 'secret')
    const first = await stranger.ask(query('own.$cmd', { ...saslStart(login.first, 'own'), options: {} }))
    const id = first?.['conversationId'] as number
    const payload = Buffer.from((first?.['payload'] as Binary).buffer).toString()
    expect(await stranger.ask(query('own.$cmd', saslContinue(id, login.final(payload), 'own')))).toMatchObject({
      done: false,
      ok: 1,
    })
    expect(await stranger.ask(query('own.$cmd', saslContinue(id, '', 'own')))).toMatchObject({ done: true, ok: 1 })
    expect(await stranger.ask(message(find))).toMatchObject({ ok: 1 })
  })

  it('refuses other mechanisms, a login that was heard and is played again, and who guesses', async () => {
    const stranger = await open(false)
    expect(await stranger.ask(message(saslStart('\0alice\0secret', 'own', 'PLAIN')))).toMatchObject({ ok: 0, code: 2 })
    const login = scramClient('alice', 'secret')
    const first = await stranger.ask(message(saslStart(login.first, 'own')))
    const final = login.final(Buffer.from((first?.['payload'] as Binary).buffer).toString())
    const other = await open(false)
    const again = await other.ask(message(saslStart(login.first, 'own')))
    expect(await other.ask(message(saslContinue(again?.['conversationId'] as number, final, 'own')))).toMatchObject({ code: 18 })
    expect(await other.ask(message(saslContinue(9, final, 'own')))).toMatchObject({ code: 18 })
    expect(await other.ask(message(find))).toMatchObject({ code: 13 })
    for (let i = 0; i < 3; i++) expect(await other.logIn('own', 'alice', `guess-${i}`)).toMatchObject({ code: 18 })
    expect(await other.receive()).toBeUndefined()
    expect(behind.heard).toEqual([])
  })

  it.each<[string, Buffer]>([
    [
      'a compressed message',
      frame(2012, Buffer.concat([Buffer.from([0xdd, 7, 0, 0, 40, 0, 0, 0, 0]), message(find).subarray(16)])),
    ],
    [
      'an insert in the old form',
      frame(2002, Buffer.concat([Buffer.alloc(4), Buffer.from('own.a\0'), Buffer.from(serialize({}))])),
    ],
    ['a query in the old form', query('own.things', {})],
    ['more than 48 MB', Buffer.concat([int(48_000_001), Buffer.alloc(28)])],
    ['a length below its header', Buffer.concat([int(8), Buffer.alloc(28)])],
    ['a body cut short', frame(2013, message(find).subarray(16, -3))],
    ['no body', frame(2013, Buffer.from([0, 0, 0, 0]))],
    ['two bodies', message(find, { tail: Buffer.concat([Buffer.from([0]), Buffer.from(serialize({ $db: 'other' }))]) })],
    ['a database by the side door', message({ find: 'a' }, { sequences: { $db: [{}] } })],
    [
      'a pipeline by the side door',
      message({ aggregate: 'a', cursor: {}, $db: 'own' }, { sequences: { pipeline: [{ $out: 'x' }] } }),
    ],
    ['documents twice', message({ insert: 'a', documents: [], $db: 'own' }, { sequences: { documents: [{}] } })],
    ['a section of another kind', message(find, { tail: Buffer.from([2, 0, 0, 0, 0]) })],
    ['flags that nobody knows', message(find, { flags: 4 })],
    ['something behind it', message(find, { tail: Buffer.from([1]) })],
  ])('ends the connection at %s, and nothing of it reaches the server', async (_, bytes) => {
    client.send(bytes)
    expect(await client.receive()).toBeUndefined()
    expect(behind.heard).toEqual([])
  })

  it('takes small messages only, before a login', async () => {
    const stranger = await open(false)
    stranger.send(message({ ping: 1, $db: 'own', pad: 'x'.repeat(20_000) }))
    expect(await stranger.receive()).toBeUndefined()
    expect(await client.ask(message({ ping: 1, $db: 'own', pad: 'x'.repeat(200_000) }))).toMatchObject({ ok: 1 })
  })

  it('ends who begins a message and does not go on', async () => {
    client.send(message(find).subarray(0, 20))
    expect(await client.receive()).toBeUndefined()
  })

  it('hands on plain messages: no flags, no checksum, nothing waits for an answer that is not to come', async () => {
    client.send(message({ ...find, n: 1 }, { flags: 2, requestId: 5 }))
    client.send(message({ ...find, n: 2 }, { flags: 1, tail: Buffer.from([1, 2, 3, 4]), requestId: 6 }))
    expect(await client.receive()).toMatchObject({ ok: 1, n: 2, responseTo: 6 })
    expect(behind.heard.map((body) => body['n'] as number)).toEqual([1, 2])
    for (const each of behind.frames) expect(each.readUInt32LE(16)).toBe(0)
  })

  it('answers in the order in which it is asked', async () => {
    for (let i = 1; i <= 20; i++) client.send(message(i % 3 ? find : { ping: 1, $db: 'own' }, { requestId: i }))
    for (let i = 1; i <= 20; i++) expect((await client.receive())?.responseTo).toBe(i)
  })

  it('gives a client whose server goes away in the middle of an answer no half of one', async () => {
    const usual = behind.answer
    behind.answer = (socket, requestId) => {
      socket.write(encodeReply({ form: 'msg', requestId }, { ok: 1, pad: 'x'.repeat(1000) }).subarray(0, 500))
      socket.destroySoon()
    }
    client.send(message(find))
    expect(await client.receive()).toBeUndefined()
    behind.answer = usual
    expect(await (await open()).ask(message(find))).toMatchObject({ ok: 1 })
  })

  it('does not pile up answers for a client that does not read', async () => {
    const usual = behind.answer
    const piece = encodeReply({ form: 'msg', requestId: 1 }, { ok: 1, pad: 'x'.repeat(16_000_000) })
    let unsent = 0
    behind.answer = (socket) => {
      socket.write(piece)
      unsent = socket.writableLength
      socket.on('drain', () => (unsent = 0))
    }
    const slow = await open()
    slow.socket.pause()
    const before = process.memoryUsage().arrayBuffers
    slow.send(message(find))
    await eventually(() => unsent > 0)
    // What the gate holds is a few buffers; the rest waits at the server.
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(unsent).toBeGreaterThan(0)
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(24_000_000)
    slow.socket.resume()
    expect((await slow.receive())?.['ok']).toBe(1)
    behind.answer = usual
  })

  it('lets those who only hold a place go for those who come to log in', async () => {
    const idle = await Promise.all(Array.from({ length: 40 }, () => open(false)))
    expect((await (await open()).ask(message(find)))?.['ok']).toBe(1)
    await eventually(() => idle.filter(({ ended }) => ended).length >= 10)
    for (const each of idle) each.close()
  })

  it('lets nothing reach another database, whatever is changed in a message', async () => {
    const bodies = [
      { ...find, filter: { a: { b: [1, 2, { c: 'd' }] } }, $db: 'own' },
      { aggregate: 'a', pipeline: [{ $lookup: { from: 'b', as: 'c' } }, { $out: 'd' }], cursor: {}, $db: 'own' },
      { renameCollection: 'own.a', to: 'own.b', $db: 'admin' },
    ]
    const byte = fc.tuple(fc.nat(), fc.oneof(fc.nat(255), fc.constantFrom(0, 2, 3, 4, 5)))
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...bodies), fc.array(byte, { minLength: 1, maxLength: 4 }), async (body, changes) => {
        const bytes = message(body)
        for (const [at, value] of changes) bytes[4 + (at % (bytes.length - 4))] = value
        if (client.ended) client = await open()
        client.send(bytes)
        client.send(message({ ping: 1, $db: 'own' }, { requestId: 0x7a7a7a7a }))
        for (let answer = await client.receive(); answer && answer.responseTo !== 0x7a7a7a7a;) answer = await client.receive()
      }),
      { numRuns: 300 },
    )
    for (const body of behind.heard) {
      expect(body['renameCollection'] === undefined ? body['$db'] : 'own').toBe('own')
      expect(JSON.stringify(body['to'] ?? 'own.b')).toMatch(/^"own\./)
    }
  }, 60_000)
})

function int(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeInt32LE(value)
  return bytes
}
