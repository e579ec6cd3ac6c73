import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { PassThrough } from 'node:stream'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { DirectWriter } from './direct-write.js'

let server: Server
let near: Socket
let far: Socket
beforeEach(async () => {
  server = createServer({ pauseOnConnect: true })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  near = connect((server.address() as AddressInfo).port, '127.0.0.1')
  ;[far] = (await once(server, 'connection')) as [Socket]
  if (near.connecting) await once(near, 'connect')
})
afterEach(async () => {
  near.destroy()
  far.destroy()
  await new Promise((resolve) => server.close(resolve))
})

describe('writing past the stream', () => {
  it('keeps the order when the peer is slow, whoever writes in between, and says when all is taken', async () => {
    const writer = new DirectWriter(near)
    let sent = ''
    for (let i = 0; writer.pending === 0; i++) {
      const text = `${i}é `.repeat(5_000)
      expect(writer.write(text)).toBe(true)
      sent += text
    }
    expect(writer.write('more ')).toBe(true)
    near.write('by the stream ', 'latin1')
    sent += 'more by the stream '
    const drained = once(near, 'drain')
    let received = ''
    far.on('data', (chunk: Buffer) => (received += chunk.toString('latin1')))
    far.resume()
    await drained
    expect(writer.pending).toBe(0)
    near.end()
    await once(far, 'end')
    expect(received === sent).toBe(true)
  })

  it('takes bytes as long as the system does, and keeps nothing of them', async () => {
    const writer = new DirectWriter(near)
    const bytes = Buffer.alloc(100_000)
    const chunks: Buffer[] = []
    for (let i = 0; ; i++) {
      bytes.fill(i % 251)
      const taken = writer.take(bytes)
      chunks.push(Buffer.from(bytes.subarray(0, taken)))
      if (taken < bytes.length) break
    }
    bytes.fill(0)
    const sent = Buffer.concat(chunks)
    expect(writer.taken).toBe(sent.length)
    near.end()
    const received: Buffer[] = []
    far.on('data', (chunk: Buffer) => received.push(chunk))
    far.resume()
    await once(far, 'end')
    expect(Buffer.concat(received).equals(sent)).toBe(true)
  })

  it('takes nothing while anything waits, or where the connection has ended', async () => {
    const writer = new DirectWriter(near)
    while (writer.pending === 0) writer.write('x'.repeat(100_000))
    expect(writer.queued).toBeGreaterThan(0)
    expect(writer.take(Buffer.from('x'))).toBe(0)
    const closed = new Promise((resolve) => near.on('error', () => undefined).once('close', resolve))
    far.resetAndDestroy()
    await closed
    expect(writer.take(Buffer.from('x'))).toBe(0)
    expect(new DirectWriter(new PassThrough()).take(Buffer.from('x'))).toBe(0)
  })

  it('ends with an error where the connection does', async () => {
    const writer = new DirectWriter(near)
    while (writer.pending === 0) writer.write('x'.repeat(100_000))
    const failed = once(near, 'error')
    far.resetAndDestroy()
    const [error] = (await failed) as [NodeJS.ErrnoException]
    expect(['EPIPE', 'ECONNRESET']).toContain(error.code)
    expect(near.destroyed).toBe(true)
    expect(writer.write('late')).toBe(false)
  })

  it('leaves to the stream what is no plain socket, or not ready', () => {
    expect(new DirectWriter(new PassThrough()).write('x')).toBe(false)
    near.cork()
    expect(new DirectWriter(near).write('x')).toBe(false)
    near.uncork()
    const connecting = connect((server.address() as AddressInfo).port, '127.0.0.1')
    expect(new DirectWriter(connecting).write('x')).toBe(false)
    connecting.destroy()
  })
})
