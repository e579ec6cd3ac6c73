import { createServer, request, type IncomingMessage } from 'node:http'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, describe, expect, it } from '@jest/globals'
import { send, startBackend, startPlane } from '../proxy/data-plane.fixture.js'

const closers: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})
const keep = <T extends { close(): Promise<unknown> }>(it: T): T => {
  closers.push(it.close)
  return it
}
const api = (name: string): ReturnType<typeof startBackend> =>
  startBackend((message, response) => {
    let bytes = 0
    message.on('data', (chunk: Buffer) => (bytes += chunk.length))
    message.once('end', () => response.end(JSON.stringify({ name, bytes, headers: message.headers })))
  })
interface Seen {
  name: string
  bytes: number
  headers: IncomingMessage['headers']
}

describe('hosts of the platform', () => {
  it('reach the API with what it needs for its links', async () => {
    const upstream = keep(await api('one'))
    const router = keep(await startPlane({ hosts: ['api.sys.test', 'localhost'], upstreams: [`127.0.0.1:${upstream.port}`] }))
    const reply = await send(router.port, 'API.sys.test:8080', { path: '/v3/apps', headers: { 'x-forwarded-host': 'evil' } })
    const seen = JSON.parse(reply.body) as Seen
    expect(seen.headers).toMatchObject({
      host: 'API.sys.test:8080',
      'x-forwarded-host': 'API.sys.test:8080',
      'x-forwarded-port': '8080',
      'x-forwarded-proto': 'http',
      'x-forwarded-for': '127.0.0.1',
    })
    expect((await send(router.port, 'localhost')).status).toBe(200)
    expect((await send(router.port, 'app.test')).status).toBe(404)
    expect(router.lines).toEqual([])
  })

  it('stream uploads without keeping them', async () => {
    const upstream = keep(await api('one'))
    const router = keep(await startPlane({ hosts: ['api.test'], upstreams: [`127.0.0.1:${upstream.port}`] }))
    const size = 256 * 1024 * 1024
    const before = process.memoryUsage().rss
    const call = request({
      host: '127.0.0.1',
      port: router.port,
      method: 'POST',
      agent: false,
      headers: { host: 'api.test', 'content-length': size },
    })
    const chunk = Buffer.alloc(1024 * 1024)
    const answered = once(call, 'response') as Promise<[IncomingMessage]>
    for (let sent = 0; sent < size; sent += chunk.length) if (!call.write(chunk)) await once(call, 'drain')
    call.end()
    const [response] = await answered
    const chunks: Buffer[] = []
    for await (const part of response) chunks.push(part as Buffer)
    expect((JSON.parse(Buffer.concat(chunks).toString()) as Seen).bytes).toBe(size)
    expect(process.memoryUsage().rss - before).toBeLessThan(150 * 1024 * 1024)
  })

  it('are served by the next upstream when one is away', async () => {
    const [gone, there] = [await api('gone'), keep(await api('there'))]
    await gone.close()
    const router = keep(
      await startPlane({ hosts: ['api.test'], upstreams: [`127.0.0.1:${gone.port}`, `127.0.0.1:${there.port}`] }),
    )
    for (let i = 0; i < 4; i++) {
      const reply = await send(router.port, 'api.test', { method: 'POST', body: 'x' })
      expect(JSON.parse(reply.body)).toMatchObject({ name: 'there', bytes: 1 })
    }
  })

  it('wait for an API that is being restarted', async () => {
    const first = await api('first')
    await first.close()
    const router = keep(await startPlane({ hosts: ['api.test'], upstreams: [`127.0.0.1:${first.port}`], patienceMs: 5_000 }))
    const waiting = send(router.port, 'api.test', { method: 'PUT', body: 'payload' })
    await delay(300)
    const again = createServer((message, response) => void message.resume().once('end', () => response.end('back')))
    again.listen(first.port, '127.0.0.1')
    closers.push(() => new Promise((resolve) => again.close(resolve)))
    expect(await waiting).toMatchObject({ status: 200, body: 'back' })
    again.closeAllConnections()
  })

  it('say so in the API’s shape when there is none', async () => {
    const gone = await api('gone')
    await gone.close()
    const router = keep(await startPlane({ hosts: ['api.test'], upstreams: [`127.0.0.1:${gone.port}`], patienceMs: 60_000 }))
    const reply = await send(router.port, 'api.test', { path: '/healthz' })
    expect(reply.status).toBe(503)
    expect(reply.headers['retry-after']).toBe('5')
    expect(JSON.parse(reply.body)).toMatchObject({ errors: [{ code: 10015, title: 'CF-ServiceUnavailable' }] })
  })
})
