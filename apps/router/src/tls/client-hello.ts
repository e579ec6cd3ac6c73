/** What the first bytes of a connection say. */
export type FirstBytes =
  /** More are needed to tell. */
  | { readonly kind: 'incomplete' }
  /** Not the beginning of TLS. */
  | { readonly kind: 'other' }
  /** A ClientHello: the name that the client asks for, lower case, and the protocols it offers (ALPN). */
  | { readonly kind: 'tls'; readonly serverName: string | undefined; readonly protocols: readonly string[] }

const INCOMPLETE: FirstBytes = { kind: 'incomplete' }
const OTHER: FirstBytes = { kind: 'other' }
const RECORD_HEADER = 5
const HANDSHAKE = 22
const CLIENT_HELLO = 1
const SERVER_NAME = 0
const ALPN = 16
/** A ClientHello beyond this is nobody's. */
const MAX_HELLO_BYTES = 64 * 1024

/** Reads a ClientHello without taking part in the handshake. Whatever is not well-formed is `other`. */
export function readFirstBytes(bytes: Buffer): FirstBytes {
  if (bytes.length === 0) return INCOMPLETE
  if (bytes[0] !== HANDSHAKE || (bytes.length > 1 && bytes[1] !== 3)) return OTHER
  const message = handshakeOf(bytes)
  if (message === undefined) return OTHER
  if (message.length > 0 && message[0] !== CLIENT_HELLO) return OTHER
  if (message.length < 4) return INCOMPLETE
  const length = message.readUIntBE(1, 3)
  if (length > MAX_HELLO_BYTES) return OTHER
  if (message.length < 4 + length) return INCOMPLETE
  try {
    return readHello(new Cursor(message.subarray(4, 4 + length)))
  } catch (error) {
    if (error instanceof RangeError) return OTHER
    throw error
  }
}

/** The handshake bytes of the records that are there; a ClientHello may span several. */
function handshakeOf(bytes: Buffer): Buffer | undefined {
  const parts: Buffer[] = []
  for (let at = 0; at + RECORD_HEADER <= bytes.length;) {
    if (bytes[at] !== HANDSHAKE || bytes[at + 1] !== 3) return undefined
    const length = bytes.readUInt16BE(at + 3)
    if (length === 0 || length > 16_384 + 256) return undefined
    parts.push(bytes.subarray(at + RECORD_HEADER, at + RECORD_HEADER + length))
    at += RECORD_HEADER + length
  }
  return Buffer.concat(parts)
}

/** Walks through a buffer; a step beyond its end throws RangeError. */
class Cursor {
  #at = 0
  constructor(private readonly bytes: Buffer) {}

  get isAtEnd(): boolean {
    return this.#at >= this.bytes.length
  }

  number(size: 1 | 2): number {
    const bytes = this.take(size)
    return bytes.readUIntBE(0, size)
  }

  take(length: number): Buffer {
    if (this.#at + length > this.bytes.length) throw new RangeError('beyond the end')
    this.#at += length
    return this.bytes.subarray(this.#at - length, this.#at)
  }
}

function readHello(hello: Cursor): FirstBytes {
  hello.take(2 + 32)
  hello.take(hello.number(1))
  hello.take(hello.number(2))
  hello.take(hello.number(1))
  let serverName: string | undefined
  let protocols: readonly string[] = []
  if (hello.isAtEnd) return { kind: 'tls', serverName, protocols }
  const extensions = new Cursor(hello.take(hello.number(2)))
  while (!extensions.isAtEnd) {
    const type = extensions.number(2)
    const body = extensions.take(extensions.number(2))
    if (type === SERVER_NAME && body.length > 0) serverName = readServerName(new Cursor(body))
    if (type === ALPN && body.length > 0) protocols = readProtocols(new Cursor(body))
  }
  return { kind: 'tls', serverName, protocols }
}

function readServerName(list: Cursor): string | undefined {
  const names = new Cursor(list.take(list.number(2)))
  while (!names.isAtEnd) {
    const type = names.number(1)
    const name = names.take(names.number(2))
    if (type === 0) return name.toString('latin1').toLowerCase()
  }
  return undefined
}

function readProtocols(list: Cursor): readonly string[] {
  const names = new Cursor(list.take(list.number(2)))
  const found: string[] = []
  while (!names.isAtEnd) found.push(names.take(names.number(1)).toString('latin1'))
  return found
}
