import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { Agent } from 'node:http'
import type { Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, describe, expect, it } from '@jest/globals'
import { anEndpoint, aRoute } from '../fake-scheduler.fixture.js'
import { send, startBackend, startPlane, type TestPlane } from '../proxy/data-plane.fixture.js'
import { EndpointSocket } from './endpoint-socket.js'

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})
const HOST = 'app.test'
async function routerTo(port: number): Promise<TestPlane> {
  const plane = await startPlane()
  closers.push(plane.close)
  plane.table.change([aRoute(HOST, [anEndpoint({ port })])], [], { epoch: '1', revision: 1 })
  return plane
}

describe('connections to an instance', () => {
  it('carry requests of all methods one after another', async () => {
    const sockets = new Set<Socket>()
    const backend = await startBackend((message, response) => {
      sockets.add(message.socket)
      message.resume().once('end', () => response.end(message.method))
    })
    closers.push(backend.close)
    const { port } = await routerTo(backend.port)
    for (const method of ['POST', 'PUT', 'GET', 'PATCH', 'DELETE', 'POST'])
      expect((await send(port, HOST, { method, body: method === 'GET' ? '' : 'body' })).body).toBe(method)
    expect(sockets.size).toBe(1)
  })

  it('are not used for what cannot be repeated when they have been idle for a while', async () => {
    const sockets = new Set<Socket>()
    const backend = await startBackend((message, response) => {
      sockets.add(message.socket)
      message.resume().once('end', () => response.end())
    })
    closers.push(backend.close)
    const { port } = await routerTo(backend.port)
    await send(port, HOST)
    await delay(2_000)
    await send(port, HOST)
    expect(sockets.size).toBe(1)
    await delay(2_000)
    await send(port, HOST, { method: 'POST', body: 'x' })
    expect(sockets.size).toBe(2)
  })

  it('are known to be at their end before the event loop tells', async () => {
    const port = await instance(`
      const acts = [(socket) => socket.end(), (socket) => socket.resetAndDestroy(), (socket) => socket.write('x')]
      const server = require('net').createServer((socket) => setTimeout(acts.shift() ?? (() => undefined), 50, socket))`)
    for (const expected of [false, false, false, true]) {
      const socket = new EndpointSocket({ allowHalfOpen: true })
      closers.push(() => socket.destroy())
      socket.on('error', () => undefined)
      socket.connect(port, '127.0.0.1')
      await once(socket, 'connect')
      let isQuiet = socket.isQuiet()
      // This process's event loop must not get a moment.
      for (const until = Date.now() + 1_000; isQuiet && Date.now() < until;) isQuiet = socket.isQuiet()
      expect(isQuiet).toBe(expected)
    }
    expect(new EndpointSocket().isQuiet()).toBe(false)
  })

  it('may be closed by an instance that keeps idle ones for two seconds: no request fails, whatever its method', async () => {
    const port = await instance(`
      const server = require('http').createServer((message, response) => {
        message.socket.removeAllListeners('timeout')
        // Said by no field, as some servers do it.
        message.socket.setTimeout(1_800 + Math.random() * 400, () => message.socket.end())
        message.resume().once('end', () => response.writeHead(200, { connection: '' }).end('ok'))
      })
      server.keepAliveTimeout = 0`)
    const plane = await routerTo(port)
    const outcomes = await load(plane.port, {
      forMs: process.env['BLOOMERY_TEST_FULL'] === undefined ? 2_600 : 10_000,
      lanes: 60,
      pauseMs: () => 1_200 + Math.random() * 1_200,
    })
    expect(failures(outcomes)).toEqual({ GET: 0, POST: 0 })
  })

  it('may be closed right after an answer, without a word in it: no GET fails, and the instance is not passed over', async () => {
    const port = await instance(`
      const server = require('http').createServer({ keepAliveTimeout: 0 }, (message, response) => {
        message.resume().once('end', () => {
          response.end('ok')
          if (Math.random() < 0.5) setTimeout(() => message.socket.end(), Math.random() * 4)
        })
      })`)
    const plane = await routerTo(port)
    const outcomes = await load(plane.port, { forMs: 2_000, lanes: 8, pauseMs: () => Math.random() * 4 })
    expect(failures(outcomes).GET).toBe(0)
    // Of a POST whose last byte has crossed the end on the wire nobody can say whether it was carried out.
    expect(outcomes.POST.filter((status) => status !== 200 && status !== 502)).toEqual([])
    expect(plane.table.health.isFailed(plane.table.find(HOST, '/')!.endpoints[0]!)).toBe(false)
  })
})

/** A process of its own, so that its ends cross our requests; the program makes a `server`. Returns its port. */
async function instance(program: string): Promise<number> {
  const listening = `${program}\nserver.listen(0, '127.0.0.1', () => console.log(server.address().port))`
  const child = spawn(process.execPath, ['-e', listening], { stdio: ['ignore', 'pipe', 'inherit'] })
  closers.push(() => child.kill('SIGKILL'))
  return Number(String((await once(child.stdout, 'data'))[0]))
}

interface Outcomes {
  readonly GET: number[]
  readonly POST: number[]
}
/** Requests of both methods in lanes, each one after another; the statuses they got. */
async function load(
  port: number,
  options: { readonly forMs: number; readonly lanes: number; readonly pauseMs: () => number },
): Promise<Outcomes> {
  const agent = new Agent({ keepAlive: true })
  const outcomes: Outcomes = { GET: [], POST: [] }
  const until = Date.now() + options.forMs
  await Promise.all(
    Array.from({ length: options.lanes }, async (_, lane) => {
      const method = lane % 2 === 0 ? 'GET' : 'POST'
      while (Date.now() < until) {
        outcomes[method].push((await send(port, HOST, { agent, method, body: method === 'GET' ? '' : 'x' })).status)
        await delay(options.pauseMs())
      }
    }),
  )
  agent.destroy()
  expect(outcomes.GET.length).toBeGreaterThan(options.lanes / 2)
  return outcomes
}
const failures = ({ GET, POST }: Outcomes): { GET: number; POST: number } => ({
  GET: GET.filter((status) => status !== 200).length,
  POST: POST.filter((status) => status !== 200).length,
})
