import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { giveBack, lookAtFirstBytes, type FirstBytesSeen } from './first-bytes.js'

let server: Server
beforeEach(async () => {
  server = createServer({ allowHalfOpen: true, pauseOnConnect: true })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
})
const opened: Socket[] = []
afterEach(async () => {
  for (const socket of opened.splice(0)) socket.destroy()
  await new Promise((resolve) => server.close(resolve))
})

/** Both ends of a connection. */
async function aConnection(): Promise<{ client: Socket; accepted: Socket }> {
  const client = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', noDelay: true })
  const [accepted] = (await once(server, 'connection')) as [Socket]
  for (const socket of [client, accepted]) socket.on('error', () => socket.destroy())
  opened.push(client, accepted)
  return { client, accepted }
}

/** Settled by the first line end. */
const untilLineEnd = (bytes: Buffer): number | undefined => {
  const at = bytes.indexOf('\n')
  return at === -1 ? undefined : at
}
const look = (socket: Socket, timeoutMs = 60_000): Promise<FirstBytesSeen<number>> =>
  new Promise((done) => lookAtFirstBytes(socket, { read: untilLineEnd, timeoutMs, done }))

async function allOf(socket: Socket): Promise<string> {
  let text = ''
  for await (const chunk of socket) text += (chunk as Buffer).toString()
  return text
}

describe('lookAtFirstBytes', () => {
  it('tells once it knows enough, and who reads next begins with what is given back', async () => {
    const { client, accepted } = await aConnection()
    const listeners = (): number[] => ['data', 'end', 'error', 'close'].map((event) => accepted.listenerCount(event))
    const before = listeners()
    const seen = look(accepted)
    client.write('on')
    client.write('e\ntw')
    const { kind, bytes, ...rest } = await seen
    expect({ kind, line: bytes.toString('utf8', 0, 3), ...rest }).toEqual({ kind: 'read', line: 'one', value: 3 })
    expect(accepted.isPaused()).toBe(true)
    expect(listeners()).toEqual(before)
    giveBack(accepted, bytes.subarray(4))
    client.end('o\nthree\n')
    expect(await allOf(accepted)).toBe('two\nthree\n')
  })

  it('can be asked one after another over the same bytes', async () => {
    const { client, accepted } = await aConnection()
    client.write('one\ntwo\n')
    const first = await look(accepted)
    giveBack(accepted, first.bytes.subarray(4))
    const second = await look(accepted)
    expect(second.bytes.toString()).toBe('two\n')
    giveBack(accepted, second.bytes)
    client.end('three')
    expect(await allOf(accepted)).toBe('two\nthree')
  })

  it('tells of a client that says too little in time; nothing of it is lost', async () => {
    const { client, accepted } = await aConnection()
    const seen = await look(accepted, 1)
    expect(seen.kind).toBe('late')
    giveBack(accepted, seen.bytes)
    client.end('at last\n')
    expect(await allOf(accepted)).toBe('at last\n')
  })

  it('tells of a client that has ended its half; the other half still works', async () => {
    const { client, accepted } = await aConnection()
    const seen = look(accepted)
    client.end('half')
    expect(await seen).toEqual({ kind: 'ended', bytes: Buffer.from('half') })
    accepted.end('heard')
    expect(await allOf(client)).toBe('heard')
  })

  it('tells nothing of a connection that is cut', async () => {
    const { client, accepted } = await aConnection()
    let told = 0
    lookAtFirstBytes(accepted, { read: untilLineEnd, timeoutMs: 60_000, done: () => void told++ })
    client.write('ha')
    await once(accepted, 'data')
    client.resetAndDestroy()
    await new Promise((resolve) => accepted.once('close', resolve))
    expect(told).toBe(0)
  })
})
