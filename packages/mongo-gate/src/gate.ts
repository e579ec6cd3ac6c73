import { randomBytes } from 'node:crypto'
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { MalformedError } from './bson-structure.js'
import { ByteBudget, readFrames } from './frames.js'
import type { ScramVerifier } from './scram.js'
import { MAX_BYTES_BEFORE_LOGIN, Session } from './session.js'
import { UpstreamError } from './upstream.js'
import { MAX_MESSAGE_BYTES } from './wire.js'

export interface GateOptions {
  readonly database: string
  /** The unix socket of the server behind. */
  readonly upstreamPath: string
  readonly users: ReadonlyMap<string, ScramVerifier>
  /** Clients that are logged in, and as many again that are not. */
  readonly maxConnections: number
  readonly maxMessageBytes?: number
  /** True while the server's data take all the room that they may. */
  readonly isFull?: () => boolean
  /** One line for whoever runs it; holds no credential and nothing that was sent. */
  readonly log?: (line: string) => void
  readonly framePatienceMs?: number
  /** Without a login and without a word. */
  readonly idlePatienceMs?: number
}

export interface Gate {
  listen(address: { readonly host: string; readonly port: number }): Promise<number>
  /** Takes these users from now on; ends the connections of those who are gone or have another password. Resolves to how many. */
  setUsers(users: ReadonlyMap<string, ScramVerifier>): number
  readonly connections: () => { readonly loggedIn: number; readonly others: number }
  close(): Promise<void>
}

const FRAME_PATIENCE_MS = 60_000
const IDLE_PATIENCE_MS = 90_000

/** The only way to the server behind it. */
export function createGate(options: GateOptions): Gate {
  const maxMessageBytes = Math.min(options.maxMessageBytes ?? MAX_MESSAGE_BYTES, MAX_MESSAGE_BYTES)
  // One request of the largest size, and a few of a usual one.
  const budget = new ByteBudget(maxMessageBytes + 8 * 1024 * 1024)
  const loggedIn = new Set<Session>()
  /** Oldest first. */
  const strangers = new Set<Session>()
  let users = options.users
  const context = {
    database: options.database,
    upstreamPath: options.upstreamPath,
    findUser: (name: string) => users.get(name),
    decoySecret: randomBytes(32),
    isFull: options.isFull ?? (() => false),
    maxMessageBytes,
    onLogin: (session: Session) => {
      strangers.delete(session)
      if (loggedIn.size >= options.maxConnections) {
        options.log?.(`more than ${options.maxConnections} clients: one was sent away`)
        session.end()
      } else loggedIn.add(session)
    },
  }

  const serve = async (socket: Socket): Promise<void> => {
    const session = new Session(socket, context)
    strangers.add(session)
    // Those who only hold a place make room for those who come to log in.
    const [oldest] = strangers
    if (strangers.size > options.maxConnections) oldest?.end()
    const limits = {
      maxBytes: () => (session.loggedIn ? maxMessageBytes : MAX_BYTES_BEFORE_LOGIN),
      budget,
      patienceMs: options.framePatienceMs ?? FRAME_PATIENCE_MS,
      onLate: () => session.end(),
    }
    try {
      for await (const frame of readFrames(socket as AsyncIterable<Buffer>, limits)) {
        await session.handle(frame)
        socket.setTimeout(session.loggedIn ? 0 : (options.idlePatienceMs ?? IDLE_PATIENCE_MS))
      }
    } catch (error) {
      if (socket.destroyed) return
      if (error instanceof MalformedError) options.log?.(`a client was sent away: ${error.message}`)
      else if (error instanceof UpstreamError) options.log?.(`a client lost its server: ${error.message}`)
      else throw error
    } finally {
      session.end()
      strangers.delete(session)
      loggedIn.delete(session)
    }
  }

  const server: Server = createServer({ noDelay: true, keepAlive: true, keepAliveInitialDelay: 120_000 }, (socket) => {
    socket.on('error', () => socket.destroy())
    socket.setTimeout(options.idlePatienceMs ?? IDLE_PATIENCE_MS, () => socket.destroy())
    serve(socket).catch((error: unknown) => {
      socket.destroy()
      options.log?.(`a connection failed: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`)
    })
  })

  return {
    listen: ({ host, port }) =>
      new Promise((resolve, reject) => {
        server.once('error', reject)
        server.listen({ host, port }, () => {
          server.off('error', reject)
          resolve((server.address() as AddressInfo).port)
        })
      }),
    setUsers: (next) => {
      users = next
      const outdated = [...loggedIn].filter((session) => !session.isCurrent())
      for (const session of outdated) session.end()
      return outdated.length
    },
    connections: () => ({ loggedIn: loggedIn.size, others: strangers.size }),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        for (const session of [...loggedIn, ...strangers]) session.end()
      }),
  }
}
