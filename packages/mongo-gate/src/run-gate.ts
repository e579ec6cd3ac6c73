import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { listenForOrders, type GateOrder, type GateStatus } from './control.js'
import { RESTORE_FILE, SOCKET_FILE, startDevelopmentServer } from './development-server.js'
import { createGate } from './gate.js'
import type { ScramVerifier } from './scram.js'

/** What a gate's process reads at its start, from {@link GATE_CONFIG_FILE} in its folder. */
export interface GateConfig {
  readonly listen: { readonly host: string; readonly port: number }
  readonly database: string
  /** Starts the server behind: a program and its arguments. */
  readonly server: readonly [string, ...string[]]
  readonly maxConnections: number
  readonly maxMessageBytes: number
}

export const GATE_CONFIG_FILE = 'gate.json'
const USERS_FILE = 'users.json'
const FULL_FILE = 'full'

/**
 * Runs a gate and the server behind it in the current folder, which is theirs alone; resolves once it listens, to what stops both. What
 * it is told (users, whether the data may grow) is in files there, and so holds after a restart.
 */
export async function runGate(config: GateConfig, log: (line: string) => void): Promise<() => Promise<void>> {
  const users = readUsers()
  let full = existsSync(FULL_FILE)
  const server = startDevelopmentServer({ command: config.server, folder: '.', log })
  const gate = createGate({
    database: config.database,
    upstreamPath: SOCKET_FILE,
    users,
    maxConnections: config.maxConnections,
    maxMessageBytes: config.maxMessageBytes,
    isFull: () => full,
    log,
  })
  const changeUsers = (change: (next: Map<string, ScramVerifier>) => void): void => {
    change(users)
    writeWhole(USERS_FILE, JSON.stringify(Object.fromEntries(users)))
    gate.setUsers(users)
  }

  const perform = async (order: GateOrder): Promise<GateStatus | undefined> => {
    switch (order.order) {
      case 'status':
        return { ready: server.isReady(), ...gate.connections() }
      case 'set-user':
        changeUsers((next) => next.set(order.name, order.verifier))
        return undefined
      case 'remove-user':
        changeUsers((next) => next.delete(order.name))
        return undefined
      case 'backup':
        await server.backup(order.file)
        return undefined
      case 'restore':
        if (!existsSync(RESTORE_FILE)) throw new Error('there is no backup to restore')
        await server.restart()
        return undefined
      case 'limit':
        full = order.full
        if (full) writeWhole(FULL_FILE, '')
        else rmSync(FULL_FILE, { force: true })
        return undefined
    }
  }
  const orders = await listenForOrders(perform)
  await gate.listen(config.listen)
  log(`listening on ${config.listen.host}:${config.listen.port} for the database ${config.database}`)
  return async () => {
    orders.close()
    await gate.close()
    await server.stop()
  }
}

function readUsers(): Map<string, ScramVerifier> {
  if (!existsSync(USERS_FILE)) return new Map()
  return new Map(Object.entries(JSON.parse(readFileSync(USERS_FILE, 'utf8')) as Record<string, ScramVerifier>))
}

function writeWhole(file: string, text: string): void {
  writeFileSync(`${file}.new`, text, { mode: 0o600 })
  renameSync(`${file}.new`, file)
}
