import { Binary, deserialize, serialize, type Document } from 'bson'
import { createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

export interface MessageShape {
  readonly flags?: number
  readonly opCode?: number
  readonly requestId?: number
  /** Document sequences beside the body. */
  readonly sequences?: Readonly<Record<string, readonly Document[]>>
  /** In place of the encoded body. */
  readonly rawBody?: Buffer
  /** Behind everything. */
  readonly tail?: Buffer
}

/** An OP_MSG as a driver would write it, or one that no driver would. */
export function message(body: Document, shape: MessageShape = {}): Buffer {
  const sections = [Buffer.from([0]), shape.rawBody ?? Buffer.from(serialize(body))]
  for (const [name, documents] of Object.entries(shape.sequences ?? {})) {
    const content = Buffer.concat([Buffer.from(`${name}\0`), ...documents.map((each) => Buffer.from(serialize(each)))])
    const size = Buffer.alloc(4)
    size.writeInt32LE(content.length + 4)
    sections.push(Buffer.from([1]), size, content)
  }
  if (shape.tail) sections.push(shape.tail)
  return frame(shape.opCode ?? 2013, Buffer.concat([flagBytes(shape.flags ?? 0), ...sections]), shape.requestId)
}

/** The form in which old drivers greet and log in. */
export function query(namespace: string, body: Document): Buffer {
  const numbers = Buffer.alloc(8)
  numbers.writeInt32LE(-1, 4)
  return frame(2004, Buffer.concat([flagBytes(0), Buffer.from(`${namespace}\0`), numbers, Buffer.from(serialize(body))]))
}

export function frame(opCode: number, content: Buffer, requestId = 1): Buffer {
  const head = Buffer.alloc(16)
  head.writeInt32LE(head.length + content.length, 0)
  head.writeInt32LE(requestId, 4)
  head.writeInt32LE(opCode, 12)
  return Buffer.concat([head, content])
}

function flagBytes(flags: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(flags)
  return bytes
}

/** A client that writes bytes and reads whole answers. */
export class WireClient {
  #unread = Buffer.alloc(0)
  #wake: () => void = () => undefined
  ended = false

  private constructor(readonly socket: Socket) {
    socket.on('data', (chunk: Buffer) => {
      this.#unread = Buffer.concat([this.#unread, chunk])
      this.#wake()
    })
    socket.on('error', () => undefined)
    socket.on('close', () => {
      this.ended = true
      this.#wake()
    })
  }

  static async open(port: number): Promise<WireClient> {
    const socket = connect({ host: '127.0.0.1', port })
    await once(socket, 'connect')
    return new WireClient(socket)
  }

  send(bytes: Buffer): void {
    this.socket.write(bytes)
  }

  /** The next answer, or undefined where the connection ended instead. */
  async receive(): Promise<(Document & { readonly responseTo: number }) | undefined> {
    for (;;) {
      const length = this.#unread.length >= 4 ? this.#unread.readInt32LE(0) : Infinity
      if (this.#unread.length >= length) {
        const whole = this.#unread.subarray(0, length)
        this.#unread = this.#unread.subarray(length)
        const body = whole.subarray(whole.readInt32LE(12) === 1 ? 36 : 21)
        return { ...deserialize(body), responseTo: whole.readInt32LE(8) }
      }
      if (this.ended) return undefined
      await new Promise<void>((resolve) => (this.#wake = resolve))
    }
  }

  async ask(bytes: Buffer): Promise<Document | undefined> {
    this.send(bytes)
    return this.receive()
  }

  async logIn(database: string, user: string, password: string): Promise<Document | undefined> {
    const login = scramClient(user, password)
    const first = await this.ask(message(saslStart(login.first, database)))
    if (first?.['ok'] !== 1) return first
    const final = login.final(Buffer.from((first['payload'] as Binary).buffer).toString())
    return this.ask(message(saslContinue(first['conversationId'] as number, final, database)))
  }

  close(): void {
    this.socket.destroy()
  }
}

export const saslStart = (payload: string, $db: string, mechanism = 'SCRAM-SHA-256'): Document => ({
  saslStart: 1,
  mechanism,
  payload: new Binary(Buffer.from(payload)),
  options: { skipEmptyExchange: true },
  $db,
})
export const saslContinue = (conversationId: number, payload: string, $db: string): Document => ({
  saslContinue: 1,
  conversationId,
  payload: new Binary(Buffer.from(payload)),
  $db,
})

/** The client's side of SCRAM-SHA-256, written from RFC 5802 without a look at the server's. */
export function scramClient(user: string, password: string, nonce = randomBytes(18).toString('base64')) {
  const bare = `n=${user.replaceAll('=', '=3D').replaceAll(',', '=2C')},r=${nonce}`
  return {
    first: `n,,${bare}`,
    final: (serverFirst: string): string => {
      const [r, s, i] = serverFirst.split(',').map((part) => part.slice(2))
      const salted = pbkdf2Sync(password, Buffer.from(s!, 'base64'), Number(i), 32, 'sha256')
      const clientKey = createHmac('sha256', salted).update('Client Key').digest()
      const storedKey = createHash('sha256').update(clientKey).digest()
      const withoutProof = `c=biws,r=${r!}`
      const signature = createHmac('sha256', storedKey).update(`${bare},${serverFirst},${withoutProof}`).digest()
      return `${withoutProof},p=${Buffer.from(clientKey.map((byte, at) => byte ^ signature[at]!)).toString('base64')}`
    },
  }
}
