import { closeSync, mkdirSync, openSync, rmSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { NdjsonLines } from '@bloomery/feeds'

/** Unix socket addresses hold about a hundred characters; a data folder's path may be longer. */
const MAX_ADDRESS = 100
const ANSWER_TIMEOUT_MS = 5_000

/** Runs `use` with an address of `dir/name` that is short enough, whatever the folder is called. */
function withAddress<T>(dir: string, name: string, use: (address: string) => Promise<T>): Promise<T> {
  const path = join(dir, name)
  if (Buffer.byteLength(path) <= MAX_ADDRESS) return use(path)
  const fd = openSync(dir, 'r')
  return use(`/proc/self/fd/${fd}/${name}`).finally(() => closeSync(fd))
}

/** A peer's word; `do` says what. */
export type Ask = Readonly<Record<string, unknown>> & { readonly do: string }

/** Answers questions on a unix socket of this user alone, one line of JSON each. */
export class ControlServer {
  private constructor(
    private readonly server: Server,
    private readonly path: string,
    private readonly sockets: Set<Socket>,
  ) {}

  /** A socket that a dead process left behind is replaced; the caller has made sure that nobody answers on it. */
  static async listen(dir: string, name: string, handle: (ask: Ask) => Promise<unknown>): Promise<ControlServer> {
    mkdirSync(dir, { recursive: true, mode: 0o700 })
    const path = join(dir, name)
    rmSync(path, { force: true })
    const sockets = new Set<Socket>()
    const server = createServer((socket) => {
      sockets.add(socket)
      socket.once('close', () => sockets.delete(socket))
      socket.on('error', () => socket.destroy())
      const lines = new NdjsonLines()
      let turn: Promise<void> = Promise.resolve()
      socket.on('data', (chunk: Buffer) => {
        for (const line of lines.push(chunk)) turn = turn.then(() => reply(socket, line, handle))
      })
    })
    await withAddress(
      dir,
      name,
      (address) =>
        new Promise<void>((resolve, reject) => {
          server.once('error', reject)
          server.listen(address, resolve)
        }),
    )
    return new ControlServer(server, path, sockets)
  }

  /** Lets go of the name; connections that exist stay. */
  release(): void {
    if (!this.server.listening) return
    // Closing removes the file by the address it was bound to, which may be someone else's by then; so it goes first.
    rmSync(this.path, { force: true })
    this.server.close()
  }

  close(): void {
    this.release()
    for (const socket of this.sockets) socket.destroy()
  }
}

async function reply(socket: Socket, line: string, handle: (ask: Ask) => Promise<unknown>): Promise<void> {
  let answer: unknown
  try {
    answer = { ok: await handle(JSON.parse(line) as Ask) }
  } catch (error) {
    answer = { error: error instanceof Error ? error.message : String(error) }
  }
  if (socket.writable) socket.write(`${JSON.stringify(answer)}\n`)
}

/** A connection to a peer's control socket. That it closes is the surest sign of the peer's end. */
export class ControlClient {
  readonly #socket: Socket
  readonly #waiting: { resolve: (value: unknown) => void; reject: (error: Error) => void; timer: NodeJS.Timeout }[] = []
  readonly closed: Promise<void>

  private constructor(socket: Socket) {
    this.#socket = socket
    const lines = new NdjsonLines()
    socket.on('data', (chunk: Buffer) => {
      for (const line of lines.push(chunk)) this.#settle(line)
    })
    socket.on('error', () => socket.destroy())
    this.closed = new Promise((resolve) => socket.once('close', resolve))
    void this.closed.then(() => {
      for (const { reject, timer } of this.#waiting.splice(0)) {
        clearTimeout(timer)
        reject(new Error('the process has ended'))
      }
    })
  }

  /** undefined: nobody listens there. */
  static connect(dir: string, name: string): Promise<ControlClient | undefined> {
    return withAddress(
      dir,
      name,
      (address) =>
        new Promise<ControlClient | undefined>((resolve) => {
          const socket = connect(address)
          socket.once('error', () => resolve(undefined))
          socket.once('connect', () => resolve(new ControlClient(socket)))
        }),
    ).catch(() => undefined)
  }

  /** Asks and waits for the answer; rejects after five seconds or with the peer's own error. */
  ask(question: Ask, timeoutMs = ANSWER_TIMEOUT_MS): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no answer to '${question.do}'`)), timeoutMs)
      this.#waiting.push({ resolve, reject, timer })
      this.#socket.write(`${JSON.stringify(question)}\n`)
    })
  }

  close(): void {
    this.#socket.destroy()
  }

  #settle(line: string): void {
    const next = this.#waiting.shift()
    if (!next) return
    clearTimeout(next.timer)
    const answer = JSON.parse(line) as { ok?: unknown; error?: string }
    if (answer.error === undefined) next.resolve(answer.ok)
    else next.reject(new Error(answer.error))
  }
}
