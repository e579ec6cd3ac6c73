import { spawn, type ChildProcess } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import http from 'node:http'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

export const REPOSITORY = resolve(fileURLToPath(new URL('..', import.meta.url)))

/** A platform started as a user would, by its start command, in a folder and on ports of its own. */
export interface Platform {
  readonly home: string
  readonly httpPort: number
  readonly httpsPort: number
  readonly api: string
  readonly password: string
  readonly installationId: string
  /** Asks the router for a host, connecting to loopback: names need not resolve. */
  request(host: string, path?: string, options?: RequestOptions): Promise<Answer>
  output(): string
  /** kill -9 of the launcher alone. */
  killLauncher(): void
  /** Starts the launcher again after it was killed. */
  startAgain(): Promise<void>
  /** Ctrl-C; removes the folder unless `keep`. */
  stop(options?: { keep?: boolean }): Promise<void>
}
export interface RequestOptions {
  readonly method?: string
  readonly headers?: Record<string, string>
  readonly body?: string | Buffer
  readonly timeoutMs?: number
}
export interface Answer {
  readonly status: number
  readonly headers: http.IncomingHttpHeaders
  readonly body: string
}

export const freePort = (): Promise<number> =>
  new Promise((done, fail) => {
    const server = net.createServer()
    server.once('error', fail)
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as net.AddressInfo
      server.close(() => done(port))
    })
  })

export const ask = (port: number, host: string, path = '/', options: RequestOptions = {}): Promise<Answer> =>
  new Promise((done) => {
    const call = http.request(
      {
        host: '127.0.0.1',
        port,
        path,
        method: options.method ?? 'GET',
        headers: { host, ...options.headers },
        agent: false,
        timeout: options.timeoutMs ?? 10_000,
      },
      (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.on('end', () =>
          done({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks).toString() }),
        )
        response.on('error', (error) => done({ status: 0, headers: {}, body: String(error) }))
      },
    )
    call.on('error', (error) => done({ status: 0, headers: {}, body: String(error) }))
    call.on('timeout', () => call.destroy(new Error('no answer in time')))
    call.end(options.body)
  })

/** Asks until the answer satisfies, or fails with the last one. */
export async function eventually<T>(
  what: string,
  seconds: number,
  probe: () => Promise<T>,
  satisfied: (value: T) => boolean,
): Promise<T> {
  let last: T | undefined
  for (const end = Date.now() + seconds * 1000; Date.now() < end;) {
    last = await probe()
    if (satisfied(last)) return last
    await new Promise((wait) => setTimeout(wait, 150))
  }
  throw new Error(`${what}: not within ${seconds} s; last seen: ${JSON.stringify(last)?.slice(0, 2000) ?? 'nothing'}`)
}

export async function startPlatform(options: {
  engine: 'docker' | 'process'
  env?: Record<string, string>
  home?: string
  /** Through `npm start`, npm's own process included. */
  viaNpm?: boolean
}): Promise<Platform> {
  const home = options.home ?? mkdtempSync(join(tmpdir(), 'bloomery-e2e-'))
  const [httpPort, httpsPort, sshPort] = [await freePort(), await freePort(), await freePort()]
  const env: NodeJS.ProcessEnv = {
    ...process.env,
    ...options.env,
    BLOOMERY_HOME: home,
    BLOOMERY_ENGINE: options.engine,
    BLOOMERY_HTTP_PORT: String(httpPort),
    BLOOMERY_HTTPS_PORT: String(httpsPort),
    BLOOMERY_SSH_PORT: String(sshPort),
  }
  for (const name of ['DATABASE_URL', 'REDIS_URL', 'BLOBSTORE_URL', 'BLOOMERY_ADMIN_PASSWORD', 'NODE_OPTIONS', 'JEST_WORKER_ID'])
    delete env[name]
  let child: ChildProcess | undefined
  let output = ''
  const start = async () => {
    output = ''
    // A process group of its own, as a terminal would make it.
    const [command, ...words] = options.viaNpm
      ? ['npm', 'start']
      : [process.execPath, join(REPOSITORY, 'apps/bloomery/bin/start.mjs')]
    const started = spawn(command, words, {
      cwd: REPOSITORY,
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    })
    child = started
    for (const stream of [started.stdout, started.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk.toString()))
    await eventually(
      `Bloomery is ready\n${output}`,
      240,
      async () => output,
      (text) => text.includes('Bloomery is ready') || started.exitCode !== null,
    )
    if (started.exitCode !== null) throw new Error(`The platform ended with ${started.exitCode}:\n${output.slice(-4000)}`)
  }
  await start()
  return {
    home,
    httpPort,
    httpsPort,
    api: `http://localhost:${httpPort}`,
    password: readFileSync(join(home, 'admin-password'), 'utf8').trim(),
    installationId: readFileSync(join(home, 'installation-id'), 'utf8').trim(),
    request: (host, path, requestOptions) => ask(httpPort, `${host}:${httpPort}`, path, requestOptions),
    output: () => output,
    killLauncher: () => {
      if (child?.pid) process.kill(child.pid, 'SIGKILL')
    },
    startAgain: start,
    stop: async ({ keep = false } = {}) => {
      const running = child
      if (running?.pid && running.exitCode === null && running.signalCode === null) {
        const ended = new Promise((done) => running.once('exit', done))
        process.kill(-running.pid, 'SIGINT')
        await Promise.race([
          ended,
          new Promise((_, fail) =>
            setTimeout(() => fail(new Error(`Ctrl-C did not end the platform in 60 s:\n${output.slice(-3000)}`)), 60_000).unref(),
          ),
        ])
      }
      if (!keep) rmSync(home, { recursive: true, force: true })
    },
  }
}
