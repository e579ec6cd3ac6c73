import { randomBytes } from 'node:crypto'
import { chownSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { EmbeddedError } from './errors.js'
import { findByPidFile, isAlive, stopProcess, type ProcessIdentity } from './process-identity.js'
import { binaryFolder, redisBinary } from './redis-binary.js'
import { spawnDetached, type EmbeddedServer } from './server-process.js'
import { chownTree, serverFolder, serverUser, socketFolder, type Installation, type ServerUser } from './storage.js'

const SOCKET = 'redis.sock'
const START_TIMEOUT_MS = 20_000

export interface RedisOptions extends Installation {
  readonly logFile: string
}

/** Starts the platform's private Redis, or takes over the one that still runs. It listens on a unix socket in a private folder only. */
export async function startRedis(options: RedisOptions): Promise<EmbeddedServer> {
  const user = serverUser()
  const folder = serverFolder(options, 'redis', user)
  const binary = await redisBinary(binaryFolder(folder), user)
  const socket = join(socketFolder(join(folder, 'socket'), SOCKET, user), SOCKET)
  const password = readPassword(join(folder, 'password'))
  const pidFile = join(folder, 'redis.pid')
  const url = `unix:${socket}?password=${password}`
  if (user) chownTree(folder, user)

  const running = findByPidFile(pidFile, socket)
  if (running && (await untilReady(socket, password, running, 3_000)))
    return { url, identity: running, adopted: true, stop: () => stop(running) }
  if (running) await stop(running)
  for (const mayDiscard of [true, false]) {
    const identity = await launch(binary, { folder, socket, password, pidFile, user, options })
    if (await untilReady(socket, password, identity, START_TIMEOUT_MS))
      return { url, identity, adopted: false, stop: () => stop(identity) }
    await stop(identity)
    // It holds hints and queues of ids only, which sweeps rebuild: damaged data is put aside rather than waited for.
    if (mayDiscard) setAside(folder)
  }
  throw new EmbeddedError(`Redis did not start. The end of ${options.logFile}:\n${tail(options.logFile)}`)
}

const stop = (identity: ProcessIdentity): Promise<void> =>
  stopProcess(identity, [
    ['SIGTERM', 8_000],
    ['SIGKILL', 2_000],
  ])

function readPassword(path: string): string {
  if (!existsSync(path)) writeFileSync(path, `${randomBytes(24).toString('base64url')}\n`, { mode: 0o600 })
  return readFileSync(path, 'utf8').trim()
}

function launch(
  binary: string,
  how: {
    folder: string
    socket: string
    password: string
    pidFile: string
    user: ServerUser | undefined
    options: RedisOptions
  },
): Promise<ProcessIdentity> {
  const data = join(how.folder, 'data')
  mkdirSync(data, { recursive: true, mode: 0o700 })
  rmSync(how.socket, { force: true })
  // In a file, since a command line can be read by every user of the machine.
  const config = join(how.folder, 'redis.conf')
  const quoted = (text: string): string => JSON.stringify(text)
  const lines = [
    'port 0',
    `unixsocket ${quoted(how.socket)}`,
    'unixsocketperm 700',
    `requirepass ${how.password}`,
    `dir ${quoted(data)}`,
    `pidfile ${quoted(how.pidFile)}`,
    'daemonize no',
    'appendonly yes',
    'appendfsync everysec',
    'auto-aof-rewrite-min-size 4mb',
    'save ""',
    'maxmemory 64mb',
    'maxmemory-policy noeviction',
    'databases 1',
    'loglevel warning',
  ]
  writeFileSync(config, `${lines.join('\n')}\n`, { mode: 0o600 })
  if (how.user) for (const path of [data, config]) chownSync(path, how.user.uid, how.user.gid)
  return spawnDetached({
    command: binary,
    args: [config],
    cwd: data,
    logFile: how.options.logFile,
    user: how.user,
    env: { BLOOMERY_INSTALLATION_ID: how.options.installationId, BLOOMERY_HOME: how.options.home },
  })
}

async function untilReady(socket: string, password: string, identity: ProcessIdentity, patienceMs: number): Promise<boolean> {
  for (const end = Date.now() + patienceMs; Date.now() < end && isAlive(identity); await delay(25))
    if (await ping(socket, password)) return true
  return false
}

/** The two commands by hand: the launcher carries no Redis client. */
function ping(path: string, password: string): Promise<boolean> {
  return new Promise((resolve) => {
    const connection = connect({ path, timeout: 1_000 })
    let answer = ''
    const finish = (ok: boolean): void => {
      connection.destroy()
      resolve(ok)
    }
    connection.once('connect', () => connection.write(`AUTH ${password}\r\nPING\r\n`))
    connection.on('data', (chunk) => {
      answer += chunk.toString()
      if (answer.includes('+PONG')) finish(true)
      else if (answer.includes('-LOADING') || answer.includes('-ERR') || answer.includes('-WRONGPASS')) finish(false)
    })
    connection.once('error', () => finish(false))
    connection.once('timeout', () => finish(false))
    connection.once('close', () => finish(false))
  })
}

function setAside(folder: string): void {
  const data = join(folder, 'data')
  rmSync(`${data}.damaged`, { recursive: true, force: true })
  if (existsSync(data)) renameSync(data, `${data}.damaged`)
}

const tail = (path: string): string => (existsSync(path) ? readFileSync(path, 'utf8').split('\n').slice(-12).join('\n') : '')
