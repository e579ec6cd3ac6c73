import { once } from 'node:events'
import { connect as connectNet, createServer, type AddressInfo } from 'node:net'
import { connect } from 'node:tls'
import { describe, expect, it } from '@jest/globals'
import { readFirstBytes } from './client-hello.js'

/** What Node's own client sends first. */
async function helloOf(options: { servername?: string; ALPNProtocols?: string[] }): Promise<Buffer> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const socket = connectNet((server.address() as AddressInfo).port, '127.0.0.1')
  const client = connect({ socket, rejectUnauthorized: false, ...options })
  client.on('error', () => client.destroy())
  const [accepted] = (await once(server, 'connection')) as [ReturnType<typeof connectNet>]
  const [bytes] = (await once(accepted, 'data')) as [Buffer]
  client.destroy()
  accepted.destroy()
  server.close()
  return bytes
}

describe('readFirstBytes', () => {
  it('finds name and protocols, however the bytes come', async () => {
    const hello = await helloOf({ servername: 'Db.tcp.test', ALPNProtocols: ['h2', 'acme-tls/1'] })
    const expected = { kind: 'tls', serverName: 'db.tcp.test', protocols: ['h2', 'acme-tls/1'] }
    expect(readFirstBytes(hello)).toEqual(expected)
    for (let end = 0; end < hello.length; end++) expect(readFirstBytes(hello.subarray(0, end)).kind).toBe('incomplete')
    // In two records.
    const body = hello.subarray(5)
    const record = (part: Buffer): Buffer => Buffer.concat([Buffer.from([22, 3, 1, part.length >> 8, part.length & 255]), part])
    expect(readFirstBytes(Buffer.concat([record(body.subarray(0, 40)), record(body.subarray(40))]))).toEqual(expected)
  })

  it('needs no name', async () =>
    expect(readFirstBytes(await helloOf({}))).toEqual({ kind: 'tls', serverName: undefined, protocols: [] }))

  it.each([
    ['another protocol', Buffer.from('GET / HTTP/1.1\r\n')],
    ['another record', Buffer.from([23, 3, 1, 0, 1, 0])],
    ['an old version', Buffer.from([22, 2, 0, 0, 1, 0])],
    ['another handshake', Buffer.from([22, 3, 1, 0, 4, 2, 0, 0, 0])],
    ['a hello that ends too soon', Buffer.from([22, 3, 1, 0, 6, 1, 0, 0, 2, 3, 3])],
    ['a hello of megabytes', Buffer.from([22, 3, 1, 0, 4, 1, 0xff, 0xff, 0xff])],
    ['an empty record', Buffer.from([22, 3, 1, 0, 0])],
  ])('is not taken in by %s', (_what, bytes) => expect(readFirstBytes(bytes)).toEqual({ kind: 'other' }))

  it('survives whatever comes', async () => {
    const hello = await helloOf({ servername: 'a.test', ALPNProtocols: ['h2'] })
    for (let i = 0; i < hello.length; i++)
      for (const value of [0, 1, 127, 255]) {
        const bytes = Buffer.from(hello)
        bytes[i] = value
        expect(['tls', 'other', 'incomplete']).toContain(readFirstBytes(bytes).kind)
      }
  })
})
