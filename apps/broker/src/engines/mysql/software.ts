import { createHash } from 'node:crypto'
import { existsSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { findPrograms } from '../../servers/programs.js'
import type { ProgramPaths, ServerCommand, ServerPlace, Software } from '../../servers/server-host.js'
import { ADMIN, connectOnce } from './connections.js'

/** A unix socket's path has room for 107 characters. */
const SOCKET_PATH_LIMIT = 100

/** MariaDB, or MySQL where that is what is installed; the client programs answer to the same names here. */
export function mysqlSoftware(options: { readonly image: string | undefined }): Software {
  let located: { readonly programs: ProgramPaths | undefined } | undefined
  return {
    kind: 'mysql',
    ports: ['mysql'],
    publicPorts: ['mysql'],
    image: options.image === undefined ? undefined : { name: options.image, programs: programsOf(options.image) },
    locate: () => (located ??= { programs: locate() }).programs,
    remedy: 'apt-get install mariadb-server (its own server may stay off), or a Docker engine that can pull an image of it',
    prepare,
    isReady: async (server) => {
      const connection = await connectOnce(server)
      await connection.end()
      return true
    },
    stopSignals: [['SIGTERM', 30_000]],
  }
}

/** MySQL's own image has other names than MariaDB's. */
function programsOf(image: string): ProgramPaths {
  if (/mysql|percona/i.test(image)) return { server: 'mysqld', client: 'mysql', dump: 'mysqldump' }
  return { server: 'mariadbd', install: 'mariadb-install-db', client: 'mariadb', dump: 'mariadb-dump' }
}

function locate(): ProgramPaths | undefined {
  const mariadb = findPrograms(['mariadbd', 'mariadb-install-db', 'mariadb', 'mariadb-dump'])
  if (mariadb)
    return {
      server: mariadb['mariadbd'] ?? '',
      install: mariadb['mariadb-install-db'] ?? '',
      client: mariadb['mariadb'] ?? '',
      dump: mariadb['mariadb-dump'] ?? '',
    }
  const mysql = findPrograms(['mysqld', 'mysql', 'mysqldump'])
  if (mysql) return { server: mysql['mysqld'] ?? '', client: mysql['mysql'] ?? '', dump: mysql['mysqldump'] ?? '' }
  return undefined
}

async function prepare(place: ServerPlace): Promise<ServerCommand> {
  const data = join(place.folder, 'data')
  if (!existsSync(data)) await initialise(place, data)
  // Run by the server before it lets anybody in. The administrator is ours alone; whoever the packages made can go.
  const accounts = [
    `CREATE USER IF NOT EXISTS '${ADMIN}'@'%' IDENTIFIED BY '${place.secret}';`,
    `ALTER USER '${ADMIN}'@'%' IDENTIFIED BY '${place.secret}';`,
    `GRANT ALL PRIVILEGES ON *.* TO '${ADMIN}'@'%' WITH GRANT OPTION;`,
    ...['localhost', '127.0.0.1', '::1'].map((host) => `DROP USER IF EXISTS 'root'@'${host}';`),
    '',
  ]
  const buffer = Math.max(24, Math.floor(place.memoryMb / 4))
  return {
    command: place.program('server'),
    args: [
      '--no-defaults',
      `--datadir=${data}`,
      `--tmpdir=${place.makeFolder('tmp')}`,
      `--socket=${socketOf(place.folder)}`,
      `--pid-file=${join(place.folder, 'server.pid')}`,
      `--init-file=${place.write('accounts.sql', accounts.join('\n'))}`,
      // No file of the machine is read or written for anybody.
      `--secure-file-priv=${place.makeFolder('files')}`,
      '--local-infile=0',
      '--symbolic-links=0',
      `--bind-address=${place.listen}`,
      `--port=${place.ports['mysql']}`,
      '--skip-name-resolve',
      '--character-set-server=utf8mb4',
      '--collation-server=utf8mb4_unicode_ci',
      '--max-connections=300',
      `--innodb-buffer-pool-size=${buffer}M`,
      `--innodb-log-file-size=${Math.min(128, buffer)}M`,
      '--key-buffer-size=4M',
      '--loose-aria-pagecache-buffer-size=8M',
      '--performance-schema=OFF',
      '--skip-log-bin',
      '--table-open-cache=400',
      '--loose-mysqlx=OFF',
    ],
    env: { LC_ALL: 'C.UTF-8' },
  }
}

/** In a folder of another name until all is done: an interrupted start leaves nothing half-made behind. */
async function initialise(place: ServerPlace, data: string): Promise<void> {
  const unfinished = `${data}.new`
  rmSync(unfinished, { recursive: true, force: true })
  const install = tryProgram(place, 'install')
  if (install) {
    place.makeFolder('data.new')
    await place.run('install', [
      '--no-defaults',
      `--datadir=${unfinished}`,
      '--auth-root-authentication-method=normal',
      '--skip-test-db',
      '--skip-name-resolve',
    ])
  } else await place.run('server', ['--no-defaults', '--initialize-insecure', `--datadir=${unfinished}`])
  renameSync(unfinished, data)
}

function tryProgram(place: ServerPlace, name: string): boolean {
  try {
    return place.program(name) !== ''
  } catch {
    return false // MySQL makes its data by itself
  }
}

function socketOf(folder: string): string {
  const wanted = join(folder, 'socket')
  if (wanted.length <= SOCKET_PATH_LIMIT) return wanted
  return `/tmp/bloomery-${createHash('sha256').update(folder).digest('hex').slice(0, 16)}.sock`
}
