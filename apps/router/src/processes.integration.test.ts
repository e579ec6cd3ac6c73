import { spawn, type ChildProcess } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { Agent, createServer, get, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals'
import { makeTestIdentity, saveNodeIdentity } from '@bloomery/pki'
import { buildRouter, eventually, exited, freePorts, processesOf, ROUTER_PROGRAM } from './built-router.fixture.js'
import { anEndpoint, aRoute, FakeScheduler } from './fake-scheduler.fixture.js'
import { ControlClient } from './holder/control-socket.js'

let home: string
let env: NodeJS.ProcessEnv
let scheduler: FakeScheduler
let backend: Server
let httpPort: number
let tcpPorts: [number, number]
const started = new Set<ChildProcess>()

beforeAll(buildRouter)

beforeAll(async () => {
  // Longer than the address of a unix socket may be.
  home = mkdtempSync(join(tmpdir(), `bloomery-router-${'x'.repeat(90)}-`))
  const router = await makeTestIdentity('router', { nodeId: 'main' })
  const other = await makeTestIdentity('scheduler', { authority: router.authority })
  saveNodeIdentity(join(home, 'node'), router.identity)
  scheduler = new FakeScheduler(other.identity)
  const schedulerUrl = await scheduler.listen()
  backend = createServer((request, response) => void setTimeout(() => response.end(`hello ${request.url ?? ''}`), 2))
  await new Promise<void>((resolve) => backend.listen(0, '127.0.0.1', resolve))
  scheduler.publish(aRoute('app.test', [anEndpoint({ port: (backend.address() as AddressInfo).port })]))
  const [first, second, unused, tcp, otherTcp, metrics] = await freePorts(6)
  httpPort = first!
  tcpPorts = [tcp!, otherTcp!]
  env = {
    PATH: process.env['PATH'],
    BLOOMERY_HOME: home,
    BLOOMERY_HTTP_PORT: String(httpPort),
    BLOOMERY_HTTPS_PORT: String(second),
    BLOOMERY_NODE_DIR: join(home, 'node'),
    BLOOMERY_SCHEDULER_URL: schedulerUrl,
    BLOOMERY_LOGS_URL: `https://127.0.0.1:${unused}`,
    BLOOMERY_API_UPSTREAMS: `http://127.0.0.1:${unused}`,
    BLOOMERY_TCP_PORTS: tcpPorts.join(','),
    BLOOMERY_ROUTER_WORKERS: '2',
    BLOOMERY_ROUTER_METRICS_LISTEN: `127.0.0.1:${metrics}`,
    BLOOMERY_ROUTER_DRAIN_TIMEOUT_SECONDS: '3',
  }
})

afterEach(async () => {
  for (const holder of started) {
    if (holder.exitCode === null && holder.signalCode === null) await stop(holder)
  }
  started.clear()
})

afterAll(async () => {
  for (const pid of processesOf(home)) process.kill(pid, 'SIGKILL')
  await scheduler.close()
  backend.closeAllConnections()
  await new Promise((resolve) => backend.close(resolve))
  rmSync(home, { recursive: true, force: true })
})

describe('the processes of the router', () => {
  it('serve, and end all when the holder is stopped', async () => {
    const holder = await start()
    expect(await request()).toBe(200)
    expect(Object.keys(await workers())).toEqual(['w0', 'w1'])
    await eventually(() => expect(scheduler.acks.get('w1')).toMatchObject(scheduler.at))
    const startedAt = Date.now()
    await stop(holder)
    expect(Date.now() - startedAt).toBeLessThan(10_000)
    expect(processesOf(home)).toEqual([])
    expect(await request().catch((error: unknown) => (error as NodeJS.ErrnoException).code)).toBe('ECONNREFUSED')
  })

  it('lose nothing but what a killed worker had open, and replace it', async () => {
    await start()
    const load = constantLoad({ keepAlive: false })
    const before = await workers()
    process.kill(before['w0']!, 'SIGKILL')
    await eventually(async () => {
      const now = await workers()
      expect(Object.keys(now)).toEqual(['w0', 'w1'])
      expect(now['w0']).not.toBe(before['w0'])
    })
    const { served, failures } = await load.stop()
    expect(served).toBeGreaterThan(0)
    expect(failures.filter((code) => code === 'ECONNREFUSED')).toEqual([])
    // Requests that were open on it: at most those in flight at once.
    expect(failures.length).toBeLessThanOrEqual(load.parallel)
  })

  it('refuse no connection even when all workers are killed at once', async () => {
    await start()
    const before = await workers()
    for (const pid of Object.values(before)) process.kill(pid, 'SIGKILL')
    expect(await request()).toBe(200)
    await eventually(async () => expect(Object.keys(await workers())).toEqual(['w0', 'w1']))
  })

  it('tell their metrics together', async () => {
    await start()
    for (let i = 0; i < 20; i++) expect(await request()).toBe(200)
    const text = await (await fetch(`http://${env['BLOOMERY_ROUTER_METRICS_LISTEN']}/metrics`)).text()
    expect(text).toContain('\nrouted_app_requests 20\n')
    expect(text).toMatch(/\ntotal_routes [1-9]/)
  })

  it('write each request into the access file', async () => {
    await start()
    for (let i = 0; i < 20; i++) expect(await requestAt(httpPort, undefined, `/logged-${i}`)).toBe(200)
    await eventually(() => {
      const lines = readFileSync(join(home, 'log/router-access.log'), 'utf8')
      for (let i = 0; i < 20; i++) expect(lines).toMatch(new RegExp(`^app[.]test - .*"GET /logged-${i} HTTP/1[.]1" 200 `, 'm'))
    })
  })

  it('serve TCP routes as they come, and when a worker started by its sibling serves alone', async () => {
    const first = await start()
    const [port] = tcpPorts
    await expect(requestAt(port)).rejects.toThrow()
    const { port: backendPort } = backend.address() as AddressInfo
    scheduler.publish(aRoute('tcp.test', [anEndpoint({ port: backendPort })], { protocol: 'tcp', port }))
    await eventually(async () => expect(await requestAt(port).catch(() => 0)).toBe(200))
    first.kill('SIGKILL')
    await exited(first)
    await start()
    for (const slot of ['w0', 'w1']) {
      const before = await workers()
      process.kill(before[slot]!, 'SIGKILL')
      await eventually(async () => expect((await workers())[slot]).not.toBe(before[slot]))
      await eventually(async () => expect((await workers())[slot]).toBeDefined())
    }
    for (let i = 0; i < 10; i++) expect(await requestAt(port)).toBe(200)
  })

  it('lose nothing when the holder is killed and started again', async () => {
    const first = await start()
    const before = await workers()
    const load = constantLoad({ keepAlive: false })
    first.kill('SIGKILL')
    await exited(first)
    await delay(200)
    await start()
    expect(await workers()).toEqual(before)
    // The new holder has no sockets of its own: a worker starts its sibling.
    process.kill(before['w1']!, 'SIGKILL')
    await eventually(async () => {
      const now = await workers()
      expect(now['w0']).toBe(before['w0'])
      expect(now['w1']).not.toBe(before['w1'])
      expect(now['w1']).toBeDefined()
    })
    const { served, failures } = await load.stop()
    expect(served).toBeGreaterThan(50)
    expect(failures.filter((code) => code === 'ECONNREFUSED')).toEqual([])
    expect(failures.length).toBeLessThanOrEqual(load.parallel)
  })

  it('are two from then on, if it was one alone: of its death the sockets would be lost', async () => {
    const alone = { BLOOMERY_ROUTER_WORKERS: '1' }
    const first = await start(alone)
    const before = await workers()
    expect(Object.keys(before)).toEqual(['w0'])
    const load = constantLoad({ keepAlive: false })
    first.kill('SIGKILL')
    await exited(first)
    await start(alone)
    const between = await workers()
    expect(Object.keys(between)).toEqual(['w0', 'w1'])
    expect(between['w0']).toBe(before['w0'])
    process.kill(before['w0']!, 'SIGKILL')
    await eventually(async () => {
      const now = await workers()
      expect(now['w1']).toBe(between['w1'])
      expect(now['w0']).not.toBe(before['w0'])
      expect(now['w0']).toBeDefined()
    })
    const { failures } = await load.stop()
    expect(failures.filter((code) => code === 'ECONNREFUSED')).toEqual([])
    expect(failures.length).toBeLessThanOrEqual(load.parallel)
  })

  it('serve the routes they know when the scheduler is gone and every process was killed', async () => {
    const holder = await start()
    await eventually(() => expect(readFileSync(join(home, 'router/table.json'), 'utf8')).toContain('app.test'))
    const load = constantLoad({ keepAlive: false })
    await scheduler.close()
    await delay(300)
    const { served, failures } = await load.stop()
    // How fast is a benchmark's to say.
    expect(served).toBeGreaterThan(0)
    expect(failures).toEqual([])
    holder.kill('SIGKILL')
    for (const pid of processesOf(home)) process.kill(pid, 'SIGKILL')
    await eventually(() => expect(processesOf(home)).toEqual([]))
    await start()
    expect(await request()).toBe(200)
    await scheduler.listen(Number(new URL(env['BLOOMERY_SCHEDULER_URL'] ?? '').port))
    await eventually(() => expect(scheduler.followers).toEqual(['w0', 'w1']))
  })

  it('take over from a holder that still runs', async () => {
    const first = await start()
    const before = await workers()
    const second = await start()
    await exited(first)
    expect(first.exitCode).toBe(0)
    expect(await workers()).toEqual(before)
    await stop(second)
    expect(processesOf(home)).toEqual([])
  })

  it('are replaced without a failed request when the configuration changes', async () => {
    const first = await start()
    const before = await workers()
    const load = constantLoad({ keepAlive: true })
    first.kill('SIGKILL')
    await exited(first)
    await start({ BLOOMERY_LOCAL_CELLS: 'elsewhere' })
    await eventually(async () => {
      const now = await workers()
      expect([now['w0'], now['w1']]).not.toContain(before['w0'])
      expect([now['w0'], now['w1']]).not.toContain(before['w1'])
      expect(processesOf(home)).not.toContain(before['w0'])
      expect(processesOf(home)).not.toContain(before['w1'])
    })
    const { served, failures } = await load.stop()
    expect(served).toBeGreaterThan(50)
    expect(failures).toEqual([])
  })

  it('keep the page for errors that they have read, and have another after a start with another', async () => {
    const file = join(home, 'error.html')
    const given = { BLOOMERY_ROUTER_ERROR_TEMPLATE_FILE: file }
    const page = (): Promise<string> =>
      new Promise((resolve, reject) => {
        get({ host: '127.0.0.1', port: httpPort, headers: { host: 'nowhere.test' }, agent: false }, (response) => {
          response
            .setEncoding('utf8')
            .toArray()
            .then((parts) => resolve(parts.join('')), reject)
        }).once('error', reject)
      })
    writeFileSync(file, '<h1>{{ .Status }}</h1>')
    const first = await start(given)
    expect(await page()).toBe('<h1>404</h1>')
    writeFileSync(file, '{{ nonsense')
    const before = Object.values(await workers())
    for (const pid of before) process.kill(pid, 'SIGKILL')
    await eventually(async () => {
      const now = Object.values(await workers())
      expect(now).toHaveLength(2)
      expect(now.filter((pid) => before.includes(pid))).toEqual([])
    })
    expect(await page()).toBe('<h1>404</h1>')
    first.kill('SIGKILL')
    await exited(first)
    writeFileSync(file, '<h2>{{ .Status }}</h2>')
    await start(given)
    await eventually(async () => expect(await page()).toBe('<h2>404</h2>'))
  })

  it('name the port and its owner when it is taken', async () => {
    const squatter = createServer()
    await new Promise<void>((resolve) => squatter.listen(httpPort, '127.0.0.1', resolve))
    const holder = spawn(process.execPath, [ROUTER_PROGRAM], { env, stdio: ['ignore', 'ignore', 'pipe'] })
    let text = ''
    holder.stderr.on('data', (chunk: Buffer) => (text += chunk.toString()))
    await exited(holder)
    await new Promise((resolve) => squatter.close(resolve))
    expect(holder.exitCode).toBe(78)
    expect(text).toContain(`Port ${httpPort} on 127.0.0.1 is taken by node (process ${process.pid})`)
    expect(text).toContain('BLOOMERY_HTTP_PORT')
  })
})

async function start(over: NodeJS.ProcessEnv = {}): Promise<ChildProcess> {
  const holder = spawn(process.execPath, [ROUTER_PROGRAM], { env: { ...env, ...over }, stdio: ['ignore', 'ignore', 'pipe'] })
  started.add(holder)
  let text = ''
  holder.stderr.on('data', (chunk: Buffer) => (text += chunk.toString()))
  await eventually(() => expect(text).toContain('router serves'))
  return holder
}

async function stop(holder: ChildProcess): Promise<void> {
  holder.kill('SIGTERM')
  await exited(holder)
}

async function workers(): Promise<Record<string, number>> {
  const client = await ControlClient.connect(join(home, 'run/router'), 'holder.sock')
  const status = (await client?.ask({ do: 'status' })) as { workers: Record<string, number> } | undefined
  client?.close()
  return Object.fromEntries(Object.entries(status?.workers ?? {}).sort())
}

const request = (agent?: Agent): Promise<number> => requestAt(httpPort, agent)

function requestAt(port: number, agent = new Agent({ keepAlive: false }), path = '/'): Promise<number> {
  return new Promise((resolve, reject) => {
    get({ host: '127.0.0.1', port, path, headers: { host: 'app.test' }, agent }, (response) => {
      response.resume()
      response.once('end', () => resolve(response.statusCode ?? 0))
      response.once('error', reject)
    }).once('error', reject)
  })
}

function constantLoad(options: { keepAlive: boolean }): {
  parallel: number
  stop(): Promise<{ served: number; failures: string[] }>
} {
  const parallel = 8
  const agent = new Agent({ keepAlive: options.keepAlive })
  let running = true
  let served = 0
  const failures: string[] = []
  const loops = Array.from({ length: parallel }, async () => {
    while (running) {
      try {
        const status = await request(agent)
        if (status === 200) served++
        else failures.push(String(status))
      } catch (error) {
        failures.push((error as NodeJS.ErrnoException).code ?? String(error))
      }
      await delay(5)
    }
  })
  return {
    parallel,
    stop: async () => {
      running = false
      await Promise.all(loops)
      agent.destroy()
      return { served, failures }
    },
  }
}
