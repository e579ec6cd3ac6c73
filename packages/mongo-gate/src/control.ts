import { closeSync, constants, openSync, rmSync } from 'node:fs'
import { createServer, connect, type Server } from 'node:net'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { ScramVerifier } from './scram.js'

/** What the broker asks of a running gate. Each may be said twice. */
export type GateOrder =
  | { readonly order: 'status' }
  | { readonly order: 'set-user'; readonly name: string; readonly verifier: ScramVerifier }
  /** Ends the user's connections, too. */
  | { readonly order: 'remove-user'; readonly name: string }
  /** Writes a copy of the data to a file of this name in the folder. */
  | { readonly order: 'backup'; readonly file: string }
  /** Replaces the data by what lies at the place for backups. */
  | { readonly order: 'restore' }
  /** Whether the data may grow. */
  | { readonly order: 'limit'; readonly full: boolean }

export interface GateStatus {
  readonly ready: boolean
  readonly loggedIn: number
  readonly others: number
}

const CONTROL_SOCKET = 'control.sock'
const MAX_LINE = 64 * 1024
const PATIENCE_MS = 120_000

/**
 * Takes orders on a unix socket in the current folder, which nobody but the gate's user may enter; each connection carries one, as a
 * line of JSON, and gets a line back.
 */
export async function listenForOrders(perform: (order: GateOrder) => Promise<unknown>): Promise<Server> {
  rmSync(CONTROL_SOCKET, { force: true })
  const server = createServer((socket) => {
    socket.on('error', () => socket.destroy())
    let read = 0
    socket.on('data', (chunk: Buffer) => {
      if ((read += chunk.length) > MAX_LINE) socket.destroy()
    })
    createInterface({ input: socket }).once('line', (line) => {
      const answer = async (): Promise<unknown> => ({ ok: (await perform(JSON.parse(line) as GateOrder)) ?? null })
      answer()
        .catch((error: unknown) => ({ failed: error instanceof Error ? error.message : String(error) }))
        .then(
          (result) => socket.end(`${JSON.stringify(result)}\n`),
          () => socket.destroy(),
        )
    })
  })
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(CONTROL_SOCKET, resolve))
  return server
}

/** Gives an order to the gate whose folder this is. Rejects where none answers, and with its words where it could not be done. */
export function giveOrder(folder: string, order: { readonly order: 'status' }): Promise<GateStatus>
export function giveOrder(folder: string, order: GateOrder): Promise<unknown>
export async function giveOrder(folder: string, order: GateOrder): Promise<unknown> {
  // A socket's path has room for 108 bytes, which the folder's alone may exceed: its descriptor names it as well.
  const descriptor = process.platform === 'linux' ? openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY) : undefined
  try {
    const path = join(descriptor === undefined ? folder : `/proc/self/fd/${descriptor}`, CONTROL_SOCKET)
    const line = await new Promise<string>((resolve, reject) => {
      let answer = ''
      const socket = connect({ path }, () => socket.write(`${JSON.stringify(order)}\n`))
      socket.setEncoding('utf8')
      socket.setTimeout(PATIENCE_MS, () => socket.destroy(new Error('the gate does not answer')))
      socket.on('data', (chunk: string) => (answer += chunk))
      socket.once('error', reject)
      socket.once('close', () => resolve(answer))
    })
    if (line === '') throw new Error('the gate ended its connection')
    const result = JSON.parse(line) as { ok?: unknown; failed?: string }
    if (result.failed !== undefined) throw new Error(result.failed)
    return result.ok
  } finally {
    if (descriptor !== undefined) closeSync(descriptor)
  }
}
