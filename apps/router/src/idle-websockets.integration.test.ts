import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, it } from '@jest/globals'
import { BuiltRouter, memoryOf } from './built-router.fixture.js'
import { anEndpoint, aRoute } from './fake-scheduler.fixture.js'

/** Ten thousand in the longer suites; each takes two descriptors of a worker. */
const COUNT = process.env['BLOOMERY_TEST_FULL'] === undefined ? 500 : 10_000
const MAX_KIB_EACH = 15
/** What few of them share among themselves weighs more. */
const MAX_KIB_AT_ALL = 24 * 1024
const HANDSHAKE =
  'GET / HTTP/1.1\r\nHost: app.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'

/** Switches, and then sends each byte back; its connections are bare, so that it can hold as many. */
const INSTANCE = `
  require('net').createServer((socket) => {
    let switched = false
    socket.on('error', () => {})
    socket.on('data', (chunk) => {
      if (switched) return socket.write(chunk)
      switched = true
      socket.write('HTTP/1.1 101 Switching Protocols\\r\\nConnection: Upgrade\\r\\nUpgrade: websocket\\r\\n\\r\\n')
    })
  }).listen(0, '127.0.0.1', 511, function () { console.log(this.address().port) })`

describe('idle WebSockets', () => {
  it(`cost little memory, ${COUNT} at once, and live on`, async () => {
    const router = await BuiltRouter.prepare({ BLOOMERY_ROUTER_MAX_REQUESTS_PER_INSTANCE: '0' })
    const instance = spawn(process.execPath, ['-e', INSTANCE], { stdio: ['ignore', 'pipe', 'inherit'] })
    const sockets: Socket[] = []
    try {
      const port = Number(String((await once(instance.stdout, 'data'))[0]))
      router.scheduler.publish(aRoute('app.test', [anEndpoint({ port })]))
      await router.start()
      const pids = Object.values(await router.workers())
      const memory = (): number => pids.reduce((sum, pid) => sum + memoryOf(pid).now, 0)
      const open = async (i: number): Promise<void> => {
        // Of several addresses: one of them has not that many ports.
        const socket = connect({ port: router.port, host: '127.0.0.1', localAddress: `127.0.1.${1 + (i % 10)}` })
        sockets.push(socket)
        socket.on('error', () => undefined)
        socket.write(HANDSHAKE)
        const [chunk] = (await once(socket, 'data')) as [Buffer]
        expect(chunk.toString()).toMatch(/^HTTP\/1\.1 101 /)
      }
      for (let i = 0; i < 50; i++) await open(i)
      await delay(500)
      const before = memory()
      for (let i = 0; i < COUNT; i += 50) await Promise.all(Array.from({ length: 50 }, (_, lane) => open(i + lane)))
      await delay(1_000)
      const kib = (memory() - before) * 1024
      process.stdout.write(`${COUNT} idle WebSockets: ${(kib / COUNT).toFixed(2)} KiB each\n`)
      expect(kib).toBeLessThan(Math.max(COUNT * MAX_KIB_EACH, MAX_KIB_AT_ALL))
      // Each still leads to its own other end.
      for (let i = 0; i < sockets.length; i += 97) {
        const socket = sockets[i]
        if (!socket) throw new Error('no socket')
        const echoed = once(socket, 'data')
        socket.write(`number ${i}`)
        expect(String((await echoed)[0])).toBe(`number ${i}`)
      }
    } finally {
      for (const socket of sockets) socket.destroy()
      instance.kill('SIGKILL')
      await router.close()
    }
  }, 180_000)
})
