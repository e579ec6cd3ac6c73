import { copyFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  buildServer,
  GATE_CONFIG_FILE,
  type GateConfig,
  giveOrder,
  SERVER_SOFTWARE_REMEDY,
  serverCommand,
  type ServerSoftwareOptions,
} from '@bloomery/mongo-gate'
import { findProgram, findPrograms } from '../../servers/programs.js'
import type { ServerCommand, ServerPlace, Software } from '../../servers/server-host.js'
import { copyProgram, isOpenToAll } from './gate-program.js'
import { connectionsFor, heapMb, maxMessageBytes } from './plans.js'

export const DEVELOPMENT_KIND = 'mongodb-development'

/** What a development server is made of. */
export interface DevelopmentSoftwareOptions {
  readonly parts: ServerSoftwareOptions
  /** The gate's program, built. */
  readonly gateProgram: string
  /** Runs it. */
  readonly node: string
}

/** A JVM server without logins, and our gate before it as the only way in: one process, which keeps the other. */
export function developmentSoftware(options: DevelopmentSoftwareOptions): Software {
  return {
    kind: DEVELOPMENT_KIND,
    ports: ['mongodb'],
    publicPorts: ['mongodb'],
    // Made of programs of this machine.
    image: undefined,
    locate: () => findPrograms(['java']),
    remedy: SERVER_SOFTWARE_REMEDY,
    prepare: (place) => prepare(place, options),
    isReady: async (server) => (await giveOrder(server.folder, { order: 'status' })).ready,
    stopSignals: [['SIGTERM', 15_000]],
  }
}

async function prepare(place: ServerPlace, options: DevelopmentSoftwareOptions): Promise<ServerCommand> {
  const { folder, memoryMb } = place
  const config: GateConfig = {
    listen: { host: place.listen, port: place.ports['mongodb'] ?? 0 },
    database: databaseOf(place.name),
    server: serverCommand({
      built: await buildServer(options.parts),
      folder: place.makeFolder('parts'),
      java: place.program('java'),
      heapMb: heapMb(memoryMb),
    }),
    maxConnections: connectionsFor(memoryMb),
    maxMessageBytes: maxMessageBytes(memoryMb),
  }
  place.write(GATE_CONFIG_FILE, JSON.stringify(config))
  const program = copyProgram(options.gateProgram, place.makeFolder('gate'))
  return {
    command: nodeFor(place, options.node),
    args: ['--max-old-space-size=48', '--max-semi-space-size=2', program, folder],
    env: { MALLOC_ARENA_MAX: '2', NODE_ENV: 'production' },
  }
}

/** Ours, if the servers' user can run it; else another one; else a copy. */
function nodeFor(place: ServerPlace, ours: string): string {
  const [found] = [ours, findProgram('node')].filter((path) => path !== undefined && isOpenToAll(path))
  if (found !== undefined) return found
  const copy = join(place.makeFolder('bin'), 'node')
  copyFileSync(ours, copy)
  return copy
}

/** Every instance has a server of its own, and there a database named as the server is. */
export const databaseOf = (serverName: string): string => serverName.slice(serverName.lastIndexOf('-') + 1)
