import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { startDevelopmentServer, SOCKET_FILE, type DevelopmentServer } from './development-server.js'
import { buildServer, missingForServer, SERVER_SOFTWARE_REMEDY, serverCommand } from './server-software.js'

const SOFTWARE = {
  sources: join(import.meta.dirname, '../server'),
  target: join(import.meta.dirname, '../../../node_modules/.cache/bloomery-mongo-server'),
  find: (name: string): string | undefined =>
    (process.env['PATH'] ?? '')
      .split(delimiter)
      .map((folder) => join(folder, name))
      .find((path) => existsSync(path)),
}

/** Why the tests with the real server are left out here; said loudly. */
export async function whyLeftOut(): Promise<string | undefined> {
  const missing = await missingForServer(SOFTWARE)
  if (missing !== undefined)
    process.stderr.write(`LEFT OUT: the development server's tests: ${missing} (${SERVER_SOFTWARE_REMEDY})\n`)
  return missing
}

export interface TestServer {
  readonly folder: string
  readonly socket: string
  readonly server: DevelopmentServer
  stop(): Promise<void>
}

/** A development server with a folder of its own, without a gate. */
export async function startTestServer(): Promise<TestServer> {
  const folder = mkdtempSync(join(tmpdir(), 'bloomery-mongo-'))
  const built = await buildServer(SOFTWARE)
  const command = serverCommand({ built, folder, java: 'java', heapMb: 64 })
  const server = startDevelopmentServer({ command, folder, log: () => undefined })
  return {
    folder,
    socket: join(folder, SOCKET_FILE),
    server,
    stop: async () => {
      await server.stop()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
