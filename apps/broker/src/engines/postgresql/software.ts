import { existsSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { type Pool, createPool } from '@bloomery/database/sql'
import { postgresBinaries, type ServerUser } from '@bloomery/embedded'
import { findPrograms, inImage, versionFolders } from '../../servers/programs.js'
import type { ProgramPaths, Server, ServerCommand, ServerPlace, Software } from '../../servers/server-host.js'

const ADMIN = 'bloomery'
const NEEDED = ['postgres', 'initdb']
const CLIENTS = ['pg_dump', 'pg_restore']
/** The server that the platform itself runs on, beside another: for data that were made before that was installed. */
const PLATFORMS_OWN = 'platform-postgres'

/** PostgreSQL servers: the system's newest, with its clients; else the one that the platform itself runs on, which has none. */
export function postgresSoftware(options: {
  /** Name of an official image. */
  readonly image: string | undefined
  readonly owner: ServerUser | undefined
}): Software {
  let located: { readonly programs: ProgramPaths | undefined } | undefined
  return {
    kind: 'postgresql',
    ports: ['postgresql'],
    publicPorts: ['postgresql'],
    image: options.image === undefined ? undefined : { name: options.image, programs: inImage([...NEEDED, ...CLIENTS]) },
    locate: () => (located ??= { programs: locate(options.owner) }).programs,
    remedy: 'apt-get install postgresql (its own server may stay off), or a Docker engine that can pull an image of it',
    prepare,
    isReady: async (server) => {
      const pool = adminPool(server, 'postgres', 1)
      try {
        await pool.query('SELECT 1')
        return true
      } finally {
        await pool.end()
      }
    },
    // Fast shutdown: open transactions are rolled back; then an immediate one, after which the next start recovers.
    stopSignals: [
      ['SIGINT', 20_000],
      ['SIGQUIT', 5_000],
    ],
  }
}

function locate(owner: ServerUser | undefined): ProgramPaths | undefined {
  const own = platformsOwn(owner)
  const system = installed()
  if (!system) return own
  return own?.['postgres'] === undefined ? system : { ...system, [PLATFORMS_OWN]: own['postgres'] }
}

function installed(): ProgramPaths | undefined {
  for (const folder of versionFolders('/usr/lib/postgresql', 'bin')) {
    const found = [...NEEDED, ...CLIENTS].map((name): [string, string] => [name, join(folder, name)])
    if (found.every(([, path]) => existsSync(path))) return Object.fromEntries(found)
  }
  return findPrograms([...NEEDED, ...CLIENTS])
}

function platformsOwn(owner: ServerUser | undefined): ProgramPaths | undefined {
  try {
    const { postgres, initdb } = postgresBinaries(owner)
    return { postgres, initdb }
  } catch {
    return undefined // not on this kind of machine
  }
}

async function prepare(place: ServerPlace): Promise<ServerCommand> {
  const data = join(place.folder, 'data')
  if (!existsSync(data)) await initialise(place, data)
  const program = await programFor(place, data)
  const { listen } = place
  const access = [
    '# Made anew at each start.',
    // The administrator comes from this machine alone, by whichever of its addresses (an engine's rules may rewrite the bridge's to
    // another one); everybody else is who the broker made them.
    `host all ${ADMIN} samehost scram-sha-256`,
    `host all ${ADMIN} all reject`,
    'host all all all scram-sha-256',
    '',
  ]
  const settings: Record<string, string> = {
    listen_addresses: listen,
    port: String(place.ports['postgresql']),
    unix_socket_directories: '',
    hba_file: place.write('pg_hba.conf', access.join('\n')),
    password_encryption: 'scram-sha-256',
    max_connections: '200',
    superuser_reserved_connections: '5',
    shared_buffers: `${Math.max(16, Math.floor(place.memoryMb / 4))}MB`,
    effective_cache_size: `${Math.max(32, Math.floor(place.memoryMb / 2))}MB`,
    work_mem: '4MB',
    maintenance_work_mem: `${Math.max(16, Math.floor(place.memoryMb / 16))}MB`,
    temp_file_limit: `${Math.max(64, Math.floor(place.diskMb / 4))}MB`,
    max_wal_size: `${Math.max(64, Math.min(1024, Math.floor(place.diskMb / 4)))}MB`,
    min_wal_size: '32MB',
    wal_level: 'minimal',
    max_wal_senders: '0',
    max_worker_processes: '2',
    max_logical_replication_workers: '0',
    huge_pages: 'off',
    jit: 'off',
    logging_collector: 'off',
    log_min_messages: 'warning',
    // Failed statements may hold what nobody else should read.
    log_min_error_statement: 'panic',
  }
  return {
    command: place.program(program),
    args: ['-D', data, ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])],
    env: { LC_ALL: 'C.UTF-8' },
  }
}

/** In a folder of another name until all is done: an interrupted start leaves nothing half-made behind. */
async function initialise(place: ServerPlace, data: string): Promise<void> {
  const unfinished = `${data}.new`
  const password = place.write('admin-password', `${place.secret}\n`)
  const common = ['-D', unfinished, '--encoding=UTF8', '--auth=scram-sha-256', `--username=${ADMIN}`, `--pwfile=${password}`]
  for (const locale of [['--locale=C.UTF-8'], ['--no-locale']]) {
    rmSync(unfinished, { recursive: true, force: true })
    try {
      await place.run('initdb', [...common, ...locale], { env: { LC_ALL: 'C.UTF-8' } })
      renameSync(unfinished, data)
      return
    } catch (error) {
      if (locale[0] === '--no-locale' || !/locale/i.test(String(error))) throw error
    } finally {
      if (existsSync(data)) rmSync(password, { force: true })
    }
  }
}

/** The one whose major version the data are of. */
async function programFor(place: ServerPlace, data: string): Promise<string> {
  const made = readFileSync(join(data, 'PG_VERSION'), 'utf8').trim()
  const here: string[] = []
  for (const name of ['postgres', PLATFORMS_OWN]) {
    // The platform's own is not everywhere.
    const version =
      name === 'postgres' ? await place.run(name, ['--version']) : await place.run(name, ['--version']).catch(() => '')
    const [, major] = /PostgreSQL\) (\d+)/.exec(version) ?? []
    if (major === made) return name
    if (major !== undefined) here.push(major)
  }
  throw new Error(
    `The data of ${place.name} were made by PostgreSQL ${made}, and this machine has ${here.join(' and ')}. Install postgresql-${made} again, ` +
      'or make the instances anew from a backup.',
  )
}

/** Connections of the server's administrator. */
export function adminPool(server: Server, database: string, max: number): Pool {
  const { host, ports, secret } = server
  return createPool(`postgresql://${ADMIN}:${secret}@${host}:${ports['postgresql']}/${database}`, {
    max,
    applicationName: 'bloomery-broker',
    // Dropping a database waits for the server's checkpoint: with many at once a turn takes long, which is no failure.
    waitMs: 60_000,
  })
}
