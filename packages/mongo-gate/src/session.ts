import { Binary, deserialize, Long, type Document } from 'bson'
import type { Socket } from 'node:net'
import { stringOf } from './bson-structure.js'
import { judge, type LocalCommand } from './judge.js'
import { ScramConversation, ScramError, SCRAM_MECHANISM, type ScramVerifier } from './scram.js'
import { Upstream } from './upstream.js'
import { encodeReply, HEADER_BYTES, parseRequest, toPlainMessage, type WireRequest } from './wire.js'

/** What all sessions of a gate share. */
export interface SessionContext {
  readonly database: string
  readonly upstreamPath: string
  readonly findUser: (name: string) => ScramVerifier | undefined
  readonly decoySecret: Buffer
  readonly isFull: () => boolean
  /** Largest message that is taken, in bytes; told to drivers, which cut their batches by it. */
  readonly maxMessageBytes: number
  readonly onLogin: (session: Session) => void
}

const MAX_BSON_BYTES = 16 * 1024 * 1024
const MAX_WRITE_BATCH = 1000
/** What MongoDB 4.4 speaks: the oldest that today's drivers take. */
const WIRE_VERSION = 9
const VERSION = '4.4.0'
const MAX_FAILED_LOGINS = 5

let lastConnectionId = 0

/** One client's connection from its first byte on: greets, logs in, and lets through what {@link judge} allows. */
export class Session {
  readonly #id = ++lastConnectionId
  readonly #upstream: Upstream
  #user: { readonly name: string; readonly verifier: ScramVerifier } | undefined
  #conversation: { readonly id: number; readonly scram: ScramConversation; readonly skipEmpty: boolean } | undefined
  /** The user whose login is complete but for the client's empty last message. */
  #almost: { readonly id: number } | undefined
  #conversations = 0
  #failedLogins = 0

  constructor(
    private readonly socket: Socket,
    private readonly context: SessionContext,
  ) {
    this.#upstream = new Upstream(context.upstreamPath)
    socket.once('close', () => this.#upstream.close())
  }

  get loggedIn(): boolean {
    return this.#user !== undefined
  }

  /** False once its user is gone or has another password. */
  isCurrent(): boolean {
    return !this.#user || this.context.findUser(this.#user.name)?.storedKey === this.#user.verifier.storedKey
  }

  end(): void {
    this.socket.destroy()
    this.#upstream.close()
  }

  /** Deals with one whole frame. Throws MalformedError for one that cannot be read, UpstreamError where the server went away. */
  async handle(frame: Buffer): Promise<void> {
    const request = parseRequest(frame)
    const { database } = this.context
    const verdict = judge(request, { database, loggedIn: this.loggedIn, full: this.context.isFull() })
    switch (verdict.kind) {
      case 'forward': {
        const { requestId, unacknowledged } = request
        await this.#upstream.ask(toPlainMessage(request), requestId, async (chunk) => {
          if (!unacknowledged) await this.#send(chunk)
        })
        return
      }
      case 'local':
        await this.#reply(request, this.#answer(verdict.command, request))
        return
      case 'refuse':
        await this.#reply(request, failure(verdict.code, verdict.codeName, verdict.message))
    }
  }

  async #reply(request: WireRequest, answer: Document): Promise<void> {
    if (!request.unacknowledged) await this.#send(encodeReply(request, answer))
    if (this.#failedLogins >= MAX_FAILED_LOGINS) this.socket.end()
  }

  /** Waits for a client that reads slowly: its answers are not piled up here. */
  async #send(chunk: Buffer): Promise<void> {
    if (this.socket.destroyed || this.socket.write(chunk)) return
    await new Promise<void>((resolve) => {
      const done = (): void => {
        this.socket.off('drain', done).off('close', done)
        resolve()
      }
      this.socket.on('drain', done).on('close', done)
    })
  }

  #answer(command: LocalCommand, request: WireRequest): Document {
    const ok = { ok: 1 }
    switch (command) {
      case 'hello':
        return { isWritablePrimary: true, ...this.#greeting(request), ...ok }
      case 'isMaster':
        return { ismaster: true, ...this.#greeting(request), ...ok }
      case 'saslStart':
      case 'saslContinue':
        return this.#logIn(command, decode(request))
      case 'logout':
        this.#user = undefined
        return ok
      case 'buildInfo':
        return { version: VERSION, versionArray: [4, 4, 0, 0], maxBsonObjectSize: MAX_BSON_BYTES, modules: [], ...ok }
      case 'connectionStatus':
        return { authInfo: this.#identity(), ...ok }
      case 'whatsmyuri':
        return { you: `${this.socket.remoteAddress ?? ''}:${this.socket.remotePort ?? 0}`, ...ok }
      case 'listDatabases':
        return { databases: [{ name: this.context.database, empty: false }], ...ok }
      case 'ping':
      case 'endSessions':
        return ok
    }
  }

  #greeting(request: WireRequest): Document {
    const asked = request.fields.find(({ name }) => name === 'saslSupportedMechs')
    return {
      maxBsonObjectSize: MAX_BSON_BYTES,
      maxMessageSizeBytes: this.context.maxMessageBytes,
      maxWriteBatchSize: MAX_WRITE_BATCH,
      localTime: new Date(),
      connectionId: this.#id,
      minWireVersion: 0,
      maxWireVersion: WIRE_VERSION,
      readOnly: false,
      // The same for every name, so that nobody learns which ones there are.
      ...(stringOf(request.bytes, asked) !== undefined && { saslSupportedMechs: [SCRAM_MECHANISM] }),
    }
  }

  #identity(): Document {
    const db = this.context.database
    return this.#user
      ? { authenticatedUsers: [{ user: this.#user.name, db }], authenticatedUserRoles: [{ role: 'readWrite', db }] }
      : { authenticatedUsers: [], authenticatedUserRoles: [] }
  }

  #logIn(command: 'saslStart' | 'saslContinue', given: Document): Document {
    try {
      return command === 'saslStart' ? this.#startLogin(given) : this.#continueLogin(given)
    } catch (error) {
      if (!(error instanceof ScramError)) throw error
      this.#conversation = undefined
      this.#almost = undefined
      this.#failedLogins++
      return failure(18, 'AuthenticationFailed', 'Authentication failed.')
    }
  }

  #startLogin(given: Document): Document {
    this.#almost = undefined
    if (given['mechanism'] !== SCRAM_MECHANISM)
      return failure(2, 'BadValue', `Unsupported mechanism '${String(given['mechanism']).slice(0, 40)}'; use ${SCRAM_MECHANISM}.`)
    if (this.#user) return failure(20, 'IllegalOperation', 'This connection has logged in already.')
    const scram = new ScramConversation(this.context.findUser, this.context.decoySecret)
    const id = ++this.#conversations
    const options = given['options'] as { skipEmptyExchange?: unknown } | undefined
    this.#conversation = { id, scram, skipEmpty: options?.skipEmptyExchange === true }
    return step(id, false, scram.first(textOf(given['payload'])))
  }

  #continueLogin(given: Document): Document {
    const id = numberOf(given['conversationId'])
    const almost = this.#almost
    if (almost) {
      this.#almost = undefined
      if (id !== almost.id || textOf(given['payload']) !== '') throw new ScramError('out of turn')
      return step(id, true, '')
    }
    const conversation = this.#conversation
    this.#conversation = undefined
    if (!conversation || id !== conversation.id) throw new ScramError('out of turn')
    const { user, answer } = conversation.scram.final(textOf(given['payload']))
    const verifier = this.context.findUser(user)
    if (!verifier) throw new ScramError('the user is gone')
    this.#user = { name: user, verifier }
    this.#failedLogins = 0
    this.context.onLogin(this)
    if (!conversation.skipEmpty) this.#almost = { id }
    return step(id, conversation.skipEmpty, answer)
  }
}

const step = (id: number, done: boolean, payload: string): Document => ({
  conversationId: id,
  done,
  payload: new Binary(Buffer.from(payload)),
  ok: 1,
})

const failure = (code: number, codeName: string, errmsg: string): Document => ({ ok: 0, errmsg, code: code, codeName })

/** The body of a small request: of those that the gate answers by itself. */
const decode = ({ bytes, bodyAt }: WireRequest): Document =>
  deserialize(bytes.subarray(bodyAt, bodyAt + bytes.readInt32LE(bodyAt)))

function textOf(payload: unknown): string {
  if (!(payload instanceof Binary)) throw new ScramError('no payload')
  return Buffer.from(payload.buffer.subarray(0, payload.position)).toString('latin1')
}

const numberOf = (value: unknown): number =>
  typeof value === 'number' ? value : value instanceof Long ? value.toNumber() : Number.NaN

/** Frames of clients that have not logged in are greetings and logins: none is larger. */
export const MAX_BYTES_BEFORE_LOGIN = 16 * 1024 + HEADER_BYTES
