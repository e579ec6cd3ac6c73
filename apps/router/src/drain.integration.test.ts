import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { connect as connectHttp2 } from 'node:http2'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals'
import { BuiltRouter, eventually, exited, processesOf } from './built-router.fixture.js'
import { anEndpoint, aRoute } from './fake-scheduler.fixture.js'

const routers: BuiltRouter[] = []
let holders: ChildProcess[]
const closers: (() => unknown)[] = []

beforeAll(async () => {
  const settings = { BLOOMERY_ROUTER_DRAIN_WAIT_SECONDS: '1', BLOOMERY_ROUTER_DRAIN_TIMEOUT_SECONDS: '3' }
  routers.push(await BuiltRouter.prepare(settings))
  routers.push(await BuiltRouter.prepare(settings))
  holders = await Promise.all(routers.map((router) => router.start()))
}, 60_000)
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})
afterAll(() => Promise.all(routers.map((router) => router.close())))

/** An instance in a process of its own; answers with its name after 5 ms, half at `/half`, and the rest of that much later. */
async function startInstance(name: string): Promise<{ child: ChildProcess; port: number }> {
  const program = `
    const server = require('http').createServer((message, response) => {
      message.resume().on('end', () => {
        if (message.url !== '/half') return setTimeout(() => response.end('${name}'), 5)
        response.writeHead(200, { 'content-length': 1000 })
        response.write('half')
      })
    }).listen(0, '127.0.0.1', () => console.log(server.address().port))`
  const child = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'pipe', 'inherit'] })
  closers.push(() => child.kill('SIGKILL'))
  return { child, port: Number(String((await once(child.stdout, 'data'))[0])) }
}

async function serve(...ports: number[]): Promise<void> {
  for (const router of routers)
    router.scheduler.publish(
      aRoute(
        'app.test',
        ports.map((port, index) => anEndpoint({ port, index })),
      ),
    )
  for (const router of routers)
    await eventually(() =>
      expect(
        [...router.scheduler.acks.values()].filter(({ revision }) => revision === router.scheduler.at.revision).length,
      ).toBeGreaterThanOrEqual(2),
    )
}

/** What became of a request: `200 body`, or the code of the error. */
const ask = (port: number, options: { agent?: Agent; method?: string; path?: string } = {}): Promise<string> =>
  new Promise((resolve) => {
    const call = request({ host: '127.0.0.1', port, agent: false, ...options, headers: { host: 'app.test' } }, (response) => {
      let body = ''
      response.on('data', (chunk: Buffer) => (body += chunk.toString()))
      response.once('end', () => resolve(`${response.statusCode ?? 0} ${body}`))
      response.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
    })
    call.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
    call.end(options.method === 'POST' ? 'body' : '')
  })

/** Requests in lanes until stopped: GET and POST, on connections kept open and on new ones. */
function load(
  port: number,
  lanes = 8,
): { reached(outcome: string, more: number): Promise<void>; stop(): Promise<Record<string, number>> } {
  const seen: Record<string, number> = {}
  const agent = new Agent({ keepAlive: true })
  let running = true
  const all = Array.from({ length: lanes }, async (_, lane) => {
    while (running) {
      const outcome = await ask(port, { ...(lane % 2 === 0 ? { agent } : {}), method: lane % 4 < 2 ? 'GET' : 'POST' })
      seen[outcome] = (seen[outcome] ?? 0) + 1
      await delay(2)
    }
  })
  return {
    /** Resolves when this outcome has been seen so many more times: on a busy machine that takes its time. */
    reached: async (outcome, more) => {
      const wanted = (seen[outcome] ?? 0) + more
      await eventually(() => {
        if ((seen[outcome] ?? 0) < wanted) throw new Error(`not yet: ${JSON.stringify(seen)}`)
      }, 20_000)
    },
    stop: async () => {
      running = false
      await Promise.all(all)
      agent.destroy()
      return seen
    },
  }
}

const failuresOf = (seen: Readonly<Record<string, number>>): Record<string, number> =>
  Object.fromEntries(Object.entries(seen).filter(([outcome]) => !outcome.startsWith('200 ')))

/** A balancer of connections that asks each router for its health, and gives connections to those that are well. */
async function balance(ports: readonly number[]): Promise<number> {
  const well = new Set(ports)
  const open = new Set<Socket>()
  let turn = 0
  const check = setInterval(() => {
    for (const port of ports)
      void new Promise<boolean>((resolve) => {
        const call = request(
          { host: '127.0.0.1', port, agent: false, headers: { host: 'any', 'user-agent': 'HTTP-Monitor/1.1' } },
          (response) => {
            response.resume()
            resolve(response.statusCode === 200)
          },
        )
        call.once('error', () => resolve(false))
        call.end()
      }).then((isWell) => (isWell ? well.add(port) : well.delete(port)))
  }, 100)
  const server: Server = createServer((client) => {
    const [port] = [...well].slice(turn++ % Math.max(well.size, 1))
    if (port === undefined) return void client.resetAndDestroy()
    const upstream = connect(port, '127.0.0.1')
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      open.add(from)
      from.on('error', () => to.destroy())
      from.on('close', () => open.delete(from))
      from.pipe(to)
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  closers.push(() => {
    clearInterval(check)
    for (const socket of open) socket.destroy()
    server.close()
  })
  return (server.address() as AddressInfo).port
}

describe('an instance that is killed under load', () => {
  it('in the middle of its answers breaks those for their clients, and fails no other request', async () => {
    const [doomed, other] = [await startInstance('doomed'), await startInstance('other')]
    await serve(doomed.port)
    const { port } = routers[0]!
    const open = Array.from({ length: 10 }, () => ask(port, { path: '/half' }))
    await delay(300)
    // From here on new requests have somewhere else to go.
    await serve(doomed.port, other.port)
    const running = load(port)
    await Promise.all([running.reached('200 doomed', 5), running.reached('200 other', 5)])
    doomed.child.kill('SIGKILL')
    expect(await Promise.all(open)).toEqual(open.map(() => 'ECONNRESET'))
    await running.reached('200 other', 30)
    const failed = failuresOf(await running.stop())
    // Those that it was working on when it was killed, and nothing after.
    expect(Object.keys(failed).filter((outcome) => !outcome.startsWith('502 '))).toEqual([])
    expect(Object.values(failed).reduce((sum, count) => sum + count, 0)).toBeLessThanOrEqual(8)
  })

  it('while no request is at it costs none, whatever its method', async () => {
    const [doomed, other] = [await startInstance('doomed'), await startInstance('other')]
    await serve(doomed.port, other.port)
    const { port } = routers[0]!
    for (let i = 0; i < 20; i++) await ask(port)
    // The connections to it are kept, and nobody tells the router.
    doomed.child.kill('SIGKILL')
    await exited(doomed.child)
    const running = load(port)
    await running.reached('200 other', 30)
    expect(Object.keys(await running.stop())).toEqual(['200 other'])
  })
})

describe('a worker that is killed under load', () => {
  it('costs what was open on it, and no connection is refused', async () => {
    const instance = await startInstance('one')
    await serve(instance.port)
    const [router] = routers
    const before = await router!.workers()
    const running = load(router!.port)
    await running.reached('200 one', 20)
    process.kill(before['w0']!, 'SIGKILL')
    await eventually(async () => {
      const now = await router!.workers()
      expect(now['w0']).toBeDefined()
      expect(now['w0']).not.toBe(before['w0'])
    })
    await running.reached('200 one', 20)
    const failed = failuresOf(await running.stop())
    expect(Object.keys(failed).filter((code) => !['ECONNRESET', 'socket hang up'].includes(code))).toEqual([])
    expect(Object.values(failed).reduce((sum, count) => sum + count, 0)).toBeLessThanOrEqual(8)
  })
})

describe('a router that is stopped behind a balancer', () => {
  it('tells so by its health first, and costs no request; clients of HTTP/2 are sent away in time', async () => {
    const instance = await startInstance('one')
    await serve(instance.port)
    const [router, other] = routers as [BuiltRouter, BuiltRouter]
    const port = await balance([router.port, other.port])
    const running = load(port)
    const over = connectHttp2(`https://127.0.0.1:${router.httpsPort}`, { ca: router.ca, servername: 'app.test' })
    over.on('error', () => undefined)
    const streams: string[] = []
    const asking = (async () => {
      while (!over.closed && !over.destroyed)
        streams.push(
          await new Promise<string>((resolve) => {
            const stream = over.request({ ':path': '/', ':authority': 'app.test' })
            stream.once('response', (fields) => resolve(String(fields[':status'])))
            stream.once('error', (error) => resolve(error.message))
            stream.resume()
          }),
        )
    })()
    await running.reached('200 one', 30)
    const stoppedAt = Date.now()
    holders[0]!.kill('SIGTERM')
    const health = (): Promise<string> =>
      new Promise((resolve) => {
        const headers = { host: 'any', 'user-agent': 'HTTP-Monitor/1.1' }
        request({ host: '127.0.0.1', port: router.port, agent: false, headers }, (response) => {
          response.resume()
          resolve(String(response.statusCode))
        })
          .once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? ''))
          .end()
      })
    const told = new Set<string>()
    while (holders[0]!.exitCode === null && Date.now() - stoppedAt < 10_000) {
      told.add(await health())
      await delay(20)
    }
    expect(
      [...told]
        .filter((each) => each !== '200')
        .slice(0, 2)
        .join(),
    ).toMatch(/^503,ECONN(REFUSED|RESET)$/)
    await exited(holders[0]!)
    await asking
    await running.reached('200 one', 30)
    expect(Object.keys(await running.stop())).toEqual(['200 one'])
    // A client too busy to have read the word by then is refused its last request unseen, which is the protocol's way to say: elsewhere.
    expect(new Set(streams.slice(0, -1))).toEqual(new Set(['200']))
    expect(streams.at(-1)).toMatch(/^200$|NGHTTP2_REFUSED_STREAM$/)
    expect(processesOf(router.home)).toEqual([])
    const lines = readFileSync(join(router.home, 'log/router-access.log'), 'utf8')
    expect(lines).toMatch(/^app[.]test - .*"GET \/ HTTP\/2[.]0" 200 /m)
    expect(lines).toMatch(/^app[.]test - .*"POST \/ HTTP\/1[.]1" 200 /m)
  })
})
