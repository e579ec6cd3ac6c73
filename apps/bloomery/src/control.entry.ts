import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { homePaths } from '@bloomery/config'
import { createLogger } from '@bloomery/telemetry'
import { EXIT_MISCONFIGURED } from './role-process.js'
import { nodeEnvironment } from './roles.js'

// The control process of a single machine: roles that do little themselves (heavy work happens in containers and worker
// threads) share one heap. Each gets an environment of its own, as if it ran alone.

type Role = { close(): Promise<void> }
type RoleModule = Readonly<Record<string, (env: NodeJS.ProcessEnv) => Promise<Role>>>

const ROLES = [
  { name: 'api', start: 'startApi' },
  { name: 'logs', start: 'startLogs' },
  { name: 'scheduler', start: 'startScheduler' },
  { name: 'stager', start: 'startStager' },
  ...(process.env['BLOOMERY_BROKER'] === 'off' ? [] : [{ name: 'broker', start: 'startBroker' }]),
] as const
// Starting again does not help; a person must act.
const HOPELESS = new Set(['ConfigError', 'MigrationError', 'KeyringError'])
const LONGEST_PAUSE_MS = 5_000

const logger = createLogger('control')
const stopping = new AbortController()
const running = new Map<string, Role>()

/** Starts a role, again and again while it cannot start: the database may be away for a while. */
async function hold(name: string, start: string): Promise<void> {
  const home = homePaths(process.env['BLOOMERY_HOME'] ?? '')
  const env = { ...process.env, ...nodeEnvironment(name, home, process.env['BLOOMERY_JOIN_URL'] ?? '') }
  const program = new URL(join('..', '..', name, 'dist', 'main.js'), import.meta.url)
  for (let pause = 200; !stopping.signal.aborted; pause = Math.min(pause * 2, LONGEST_PAUSE_MS)) {
    try {
      const module = (await import(program.href)) as RoleModule
      const role = await module[start]?.(env)
      if (!role) throw new Error(`${program.pathname} exports no ${start}`)
      running.set(name, role)
      if (stopping.signal.aborted) await closeAll()
      return
    } catch (error) {
      if (error instanceof Error && HOPELESS.has(error.name)) {
        logger.fatal({ starting: name }, error.message)
        process.exit(EXIT_MISCONFIGURED)
      }
      logger.error({ starting: name, err: error }, 'a role could not start; trying again')
      await delay(pause, undefined, { signal: stopping.signal }).catch(() => undefined)
    }
  }
}

async function closeAll(): Promise<void> {
  // The log store last: the others still have something to say.
  const logs = running.get('logs')
  running.delete('logs')
  const others = [...running.values()]
  running.clear()
  await Promise.allSettled(others.map((role) => role.close()))
  await logs?.close()
}

for (const signal of ['SIGTERM', 'SIGINT'] as const)
  process.once(signal, () => {
    stopping.abort()
    void closeAll().then(
      () => process.exit(0),
      (error: unknown) => {
        logger.error({ err: error }, 'stopping failed')
        process.exit(1)
      },
    )
  })
process.on('unhandledRejection', (error) => {
  logger.fatal({ err: error }, 'a bug: an unhandled rejection; the process starts anew')
  process.exit(1)
})

await Promise.all(ROLES.map(({ name, start }) => hold(name, start)))
logger.info('all roles of the control process run')
