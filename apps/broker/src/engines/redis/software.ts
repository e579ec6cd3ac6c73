import { createHash } from 'node:crypto'
import { copyFileSync, existsSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { findPrograms, inImage } from '../../servers/programs.js'
import type { ProgramPaths, ServerCommand, ServerPlace, Software } from '../../servers/server-host.js'
import { ADMIN, asAdmin } from './admin.js'
import { connectionsFor, maxmemoryMb } from './plans.js'

/** A backup that the next start of the server is to begin with. */
export const RESTORE_FILE = 'restore.rdb'
export const DATA_FOLDER = 'data'
export const BACKUP_NAME = 'dump.rdb'

/** Redis servers: the system's, or the one that was fetched for the platform itself. */
export function redisSoftware(options: { readonly image: string | undefined; readonly home: string }): Software {
  return {
    kind: 'redis',
    ports: ['redis'],
    publicPorts: ['redis'],
    image:
      options.image === undefined ? undefined : { name: options.image, programs: inImage(['redis-server', 'redis-check-rdb']) },
    locate: () => locate(options.home),
    remedy: 'apt-get install redis-server (its own server may stay off), or a Docker engine that can pull an image of it',
    prepare,
    isReady: (server) => asAdmin(server, async (command) => (await command('PING')) === 'PONG'),
    stopSignals: [['SIGTERM', 15_000]],
  }
}

function locate(home: string): ProgramPaths | undefined {
  const system = findPrograms(['redis-server'], ['redis-check-rdb'])
  if (system) return system
  const fetched = join(home, 'redis/bin/redis-server')
  return existsSync(fetched) ? { 'redis-server': fetched } : undefined
}

async function prepare(place: ServerPlace): Promise<ServerCommand> {
  const data = place.makeFolder(DATA_FOLDER)
  await takeBackup(place, data)
  const users = join(place.folder, 'users.acl')
  if (!existsSync(users)) place.write('users.acl', firstUsers(place.secret))
  const quoted = (text: string): string => JSON.stringify(text)
  const config = place.write(
    'redis.conf',
    [
      `bind ${place.listen}`,
      // Everybody logs in: there is no user without a password.
      'protected-mode no',
      `port ${place.ports['redis'] ?? 0}`,
      'daemonize no',
      // By its folder the process is known again.
      'proc-title-template "{title} {config-file}"',
      `dir ${quoted(data)}`,
      `aclfile ${quoted(users)}`,
      `maxmemory ${maxmemoryMb(place.memoryMb)}mb`,
      `maxmemory-policy ${policyOf(join(place.folder, 'redis.conf'))}`,
      `maxclients ${connectionsFor(place.memoryMb)}`,
      'appendonly yes',
      'appendfsync everysec',
      'aof-use-rdb-preamble yes',
      'auto-aof-rewrite-min-size 4mb',
      'save ""',
      `dbfilename ${BACKUP_NAME}`,
      'tcp-keepalive 60',
      'loglevel warning',
      'activerehashing no',
      '',
    ].join('\n'),
  )
  return { command: program(place), args: [config] }
}

/** The platform's own server lies where only the user of the platform's servers may look; it needs nothing but itself. */
function program(place: ServerPlace): string {
  const found = place.program('redis-server')
  if (!found.includes('/redis/bin/')) return found
  const copy = join(place.makeFolder('bin'), 'redis-server')
  copyFileSync(found, copy)
  return copy
}

/**
 * A server finds an append-only file of the old kind, which may be a backup as it is, and goes on from there. May be interrupted
 * anywhere: the backup is moved last, and until then it is what the next start begins with.
 */
async function takeBackup(place: ServerPlace, data: string): Promise<void> {
  const backup = join(place.folder, RESTORE_FILE)
  if (!existsSync(backup)) return
  for (const name of ['appendonlydir', 'appendonly.aof', BACKUP_NAME]) rmSync(join(data, name), { recursive: true, force: true })
  renameSync(backup, join(data, 'appendonly.aof'))
}

/** Nobody may do anything but the broker; a failed login leaves no one with the default user's rights. */
const firstUsers = (secret: string): string =>
  [
    'user default off sanitize-payload resetchannels -@all',
    `user ${ADMIN} on #${createHash('sha256').update(secret).digest('hex')} ~* &* +@all`,
    '',
  ].join('\n')

/** What was chosen for the instance is written into the file by the server itself, and holds over starts. */
function policyOf(config: string): string {
  if (!existsSync(config)) return 'noeviction'
  return /^maxmemory-policy (\S+)/m.exec(readFileSync(config, 'utf8'))?.[1] ?? 'noeviction'
}
