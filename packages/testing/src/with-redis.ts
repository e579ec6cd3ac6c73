import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startRedis, type EmbeddedServer } from '@bloomery/embedded'

/** A Redis of this test file's own. */
export interface TestRedis {
  readonly url: string
  /** Ends it as a crash would, and starts it again at the same address: for tests of what happens meanwhile. */
  kill(): void
  restart(): Promise<void>
}

/** Call at the top of a test file or a describe block. */
export function withRedis(): TestRedis {
  let server: EmbeddedServer | undefined
  const home = mkdtempSync(join(tmpdir(), 'bloomery-redis-'))
  const start = async (): Promise<void> => {
    server = await startRedis({ home, installationId: `tests-${randomUUID()}`, logFile: join(home, 'redis.log') })
  }
  beforeAll(start, 60_000)
  afterAll(async () => {
    await server?.stop()
    rmSync(home, { recursive: true, force: true })
  })
  const given = (): EmbeddedServer => {
    if (!server) throw new Error('Redis is there from beforeAll on.')
    return server
  }
  return {
    get url() {
      return given().url
    },
    kill: () => void process.kill(given().identity.pid, 'SIGKILL'),
    restart: start,
  }
}
