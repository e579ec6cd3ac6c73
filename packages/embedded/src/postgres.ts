import { execFile, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chownSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import { EmbeddedError } from './errors.js'
import { postgresBinaries, type PostgresBinaries } from './postgres-binaries.js'
import { findByPidFile, isAlive, isZombie, stopProcess, type ProcessIdentity } from './process-identity.js'
import { spawnDetached, type EmbeddedServer } from './server-process.js'
import { serverFolder, serverUser, socketFolder, type Installation, type ServerUser } from './storage.js'

const run = promisify(execFile)
const ROLE = 'bloomery'
const DATABASE = 'bloomery'
const PORT = 5432
const START_TIMEOUT_MS = 60_000

// Small: the platform shares the machine with its apps. Durable: nothing here weakens fsync or full_page_writes.
const SETTINGS: Readonly<Record<string, string>> = {
  listen_addresses: '',
  shared_buffers: '20MB',
  max_connections: '60',
  max_worker_processes: '0',
  max_parallel_workers: '0',
  max_logical_replication_workers: '0',
  max_wal_senders: '0',
  wal_level: 'minimal',
  io_method: 'sync',
  autovacuum_worker_slots: '2',
  autovacuum_max_workers: '1',
  work_mem: '4MB',
  maintenance_work_mem: '32MB',
  effective_cache_size: '256MB',
  min_wal_size: '32MB',
  max_wal_size: '256MB',
  huge_pages: 'off',
  jit: 'off',
  log_min_messages: 'warning',
  log_checkpoints: 'off',
  unix_socket_permissions: '0700',
}

export interface PostgresOptions extends Installation {
  readonly logFile: string
  /** Added to the settings, e.g. fsync=off in tests. */
  readonly settings?: Readonly<Record<string, string>>
}

/** Starts the platform's own Postgres, or takes over the one that still runs. It listens on a unix socket in a private folder only. */
export async function startPostgres(options: PostgresOptions): Promise<EmbeddedServer> {
  const user = serverUser()
  const folder = serverFolder(options, 'postgres', user)
  const binaries = postgresBinaries(user)
  const data = join(folder, 'data')
  const passwordFile = join(folder, 'password')
  await initialise(binaries, { folder, data, passwordFile, user })
  refuseOtherMajor(binaries, data)
  const sockets = socketFolder(join(folder, 'socket'), `.s.PGSQL.${PORT}`, user)
  const password = readFileSync(passwordFile, 'utf8').trim()
  const url = `postgresql://${ROLE}:${password}@/${DATABASE}?host=${encodeURIComponent(sockets)}&port=${PORT}`

  await clearLocksOfZombie(join(data, 'postmaster.pid'), join(sockets, `.s.PGSQL.${PORT}.lock`))
  const running = findByPidFile(join(data, 'postmaster.pid'), data)
  const identity = running ?? (await launch(binaries, { data, sockets, user, options }))
  await untilReady(data, identity, options.logFile)
  return {
    url,
    identity,
    adopted: running !== undefined,
    // Fast shutdown: open transactions are rolled back; at last an immediate one, after which the next start recovers.
    stop: () =>
      stopProcess(identity, [
        ['SIGINT', 20_000],
        ['SIGQUIT', 5_000],
        ['SIGKILL', 2_000],
      ]),
  }
}

interface Folders {
  readonly folder: string
  readonly data: string
  readonly passwordFile: string
  readonly user: ServerUser | undefined
}

async function initialise(binaries: PostgresBinaries, { folder, data, passwordFile, user }: Folders): Promise<void> {
  if (existsSync(data)) return
  // A folder of its own until all is done: an interrupted start leaves nothing half-made behind.
  const unfinished = join(folder, 'data.new')
  rmSync(unfinished, { recursive: true, force: true })
  mkdirSync(unfinished, { mode: 0o700 })
  writeFileSync(passwordFile, `${randomBytes(24).toString('base64url')}\n`, { mode: 0o600 })
  if (user) for (const path of [unfinished, passwordFile]) chownSync(path, user.uid, user.gid)
  const as = { cwd: folder, ...(user ? { uid: user.uid, gid: user.gid } : {}), env: { PATH: process.env['PATH'], LC_ALL: 'C' } }
  const locale = ['--encoding=UTF8', '--locale=C', '--locale-provider=builtin', '--builtin-locale=C.UTF-8']
  const access = ['--auth=scram-sha-256', `--username=${ROLE}`, `--pwfile=${passwordFile}`]
  try {
    await run(binaries.initdb, [`--pgdata=${unfinished}`, ...locale, ...access, '--no-instructions'], as)
    await runSingleUser(binaries, unfinished, `CREATE DATABASE ${DATABASE}\n`, as)
  } catch (error) {
    rmSync(unfinished, { recursive: true, force: true })
    const { stderr } = error as { stderr?: string }
    throw new EmbeddedError(`Postgres could not set up its data in ${data}: ${stderr?.trim() || String(error)}`, { cause: error })
  }
  renameSync(unfinished, data)
}

/** One statement without a server: no listener, no password. */
function runSingleUser(binaries: PostgresBinaries, data: string, statement: string, as: object): Promise<void> {
  return new Promise((resolve, reject) => {
    const args = ['--single', '-D', data, '-c', 'wal_level=minimal', '-c', 'max_wal_senders=0', 'postgres']
    const child = spawn(binaries.postgres, args, { ...as, stdio: ['pipe', 'ignore', 'pipe'] })
    let stderr = ''
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
    child.once('error', reject)
    child.once('close', (code) =>
      code === 0 && !stderr.includes('ERROR:') ? resolve() : reject(Object.assign(new Error(`exit code ${code}`), { stderr })),
    )
    child.stdin.end(statement)
  })
}

function refuseOtherMajor(binaries: PostgresBinaries, data: string): void {
  const found = readFileSync(join(data, 'PG_VERSION'), 'utf8').trim()
  if (found === binaries.major) return
  throw new EmbeddedError(
    `The data in ${data} was made by PostgreSQL ${found}, and this version of Bloomery brings PostgreSQL ${binaries.major}, which cannot read it. ` +
      `Start the earlier version of Bloomery once more, save the database (pg_dump), move ${data} away, start this version and restore; docs/operations.md has the commands.`,
  )
}

async function launch(
  binaries: PostgresBinaries,
  how: { data: string; sockets: string; user: ServerUser | undefined; options: PostgresOptions },
): Promise<ProcessIdentity> {
  const settings = { ...SETTINGS, unix_socket_directories: how.sockets, port: String(PORT), ...how.options.settings }
  return spawnDetached({
    command: binaries.postgres,
    args: ['-D', how.data, ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])],
    cwd: how.data,
    logFile: how.options.logFile,
    user: how.user,
    env: { BLOOMERY_INSTALLATION_ID: how.options.installationId, BLOOMERY_HOME: how.options.home },
  })
}

/**
 * Postgres takes a killed server for alive while its zombie is there, and in a container whose first process reaps none that is
 * for ever. Its lock files are removed once nothing is attached to its shared memory any more (the sign that Postgres goes by).
 */
async function clearLocksOfZombie(lockFile: string, socketLockFile: string): Promise<void> {
  const [pid, , , , , , shared] = readLines(lockFile)
  if (!isZombie(Number(pid))) return
  const shmid = shared?.trim().split(/\s+/)[1]
  for (const end = Date.now() + 10_000; Date.now() < end; await delay(50)) {
    const segment = readLines('/proc/sysvipc/shm')
      .map((line) => line.trim().split(/\s+/))
      .find((fields) => fields[1] === shmid)
    if (segment !== undefined && segment[6] !== '0') continue
    for (const file of [socketLockFile, lockFile]) rmSync(file, { force: true })
    return
  }
}

/** The server writes its state into the last line of its pid file; so does pg_ctl learn of it. */
async function untilReady(data: string, identity: ProcessIdentity, logFile: string): Promise<void> {
  for (const end = Date.now() + START_TIMEOUT_MS; Date.now() < end; await delay(25)) {
    const [pid, , , , , , , state] = readLines(join(data, 'postmaster.pid'))
    if (Number(pid) === identity.pid && state?.trim() === 'ready') return
    if (!isAlive(identity)) throw new EmbeddedError(`Postgres did not start. The end of ${logFile}:\n${tail(logFile)}`)
  }
  throw new EmbeddedError(`Postgres was not ready within ${START_TIMEOUT_MS / 1000} s. The end of ${logFile}:\n${tail(logFile)}`)
}

const readLines = (path: string): string[] => (existsSync(path) ? readFileSync(path, 'utf8').split('\n') : [])
const tail = (path: string): string => readLines(path).slice(-12).join('\n')
