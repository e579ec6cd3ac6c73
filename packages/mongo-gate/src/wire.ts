import { serialize, type Document } from 'bson'
import { afterCString, checkDocument, elementsOf, MalformedError, type BsonElement } from './bson-structure.js'

/** Frames larger than this are refused by MongoDB, too. */
export const MAX_MESSAGE_BYTES = 48_000_000
export const HEADER_BYTES = 16
const OP_REPLY = 1
const OP_QUERY = 2004
const OP_COMPRESSED = 2012
const OP_MSG = 2013

const CHECKSUM_PRESENT = 1
const MORE_TO_COME = 1 << 1

/** Part of a message that carries many documents; only these names have a meaning in the commands that are let through. */
const SEQUENCES = new Set(['documents', 'updates', 'deletes'])

/** A request whose structure has been checked. */
export interface WireRequest {
  /** `query` is the form that old drivers greet with; its answer has another form, too. */
  readonly form: 'msg' | 'query'
  readonly requestId: number
  /** The command is the first of them. */
  readonly fields: readonly BsonElement[]
  /** Names of the document sequences beside the body. */
  readonly sequences: readonly string[]
  /** Which database the request names; undefined where it names none. */
  readonly database: string | undefined
  readonly bytes: Buffer
  /** Where the body, a document, begins. */
  readonly bodyAt: number
  /** The client waits for no answer. */
  readonly unacknowledged: boolean
}

/** Reads a whole frame. Throws {@link MalformedError} for whatever is not an OP_MSG or an OP_QUERY on `$cmd`, to the byte. */
export function parseRequest(frame: Buffer): WireRequest {
  const opCode = frame.readInt32LE(12)
  switch (opCode) {
    case OP_MSG:
      return parseMessage(frame)
    case OP_QUERY:
      return parseQuery(frame)
    case OP_COMPRESSED:
      throw new MalformedError('compressed messages are not taken: no compressor was agreed on')
    default:
      throw new MalformedError(`messages of the kind ${opCode} are not taken`)
  }
}

function parseMessage(frame: Buffer): WireRequest {
  if (frame.length < HEADER_BYTES + 4 + 1 + 5) throw new MalformedError('a message is cut short')
  const flags = frame.readUInt32LE(HEADER_BYTES)
  if ((flags & 0xffff & ~(CHECKSUM_PRESENT | MORE_TO_COME)) !== 0)
    throw new MalformedError('a message has flags that are unknown')
  const end = (flags & CHECKSUM_PRESENT) !== 0 ? frame.length - 4 : frame.length
  const sequences: string[] = []
  let body: number | undefined
  for (let at = HEADER_BYTES + 4; at < end;) {
    const kind = frame[at]
    if (kind === 0) {
      if (body !== undefined) throw new MalformedError('a message has two bodies')
      body = at + 1
      at = checkDocument(frame, body, end)
    } else if (kind === 1) {
      const sequence = checkSequence(frame, at + 1, end)
      if (sequences.includes(sequence.name)) throw new MalformedError(`a message has '${sequence.name}' twice`)
      sequences.push(sequence.name)
      at = sequence.end
    } else throw new MalformedError(`a message has a section of the kind ${String(kind)}`)
  }
  if (body === undefined) throw new MalformedError('a message has no body')
  const fields = elementsOf(frame, body)
  for (const name of sequences)
    if (fields.some((field) => field.name === name)) throw new MalformedError(`a message has '${name}' twice`)
  return {
    form: 'msg',
    requestId: frame.readInt32LE(4),
    fields,
    sequences,
    database: textOf(
      frame,
      fields.find(({ name }) => name === '$db'),
    ),
    bytes: frame,
    bodyAt: body,
    unacknowledged: (flags & MORE_TO_COME) !== 0,
  }
}

const textOf = (bytes: Buffer, field: BsonElement | undefined): string | undefined =>
  field?.type === 0x02 ? bytes.toString('utf8', field.at + 4, field.end - 1) : undefined

function checkSequence(frame: Buffer, at: number, limit: number): { name: string; end: number } {
  if (at + 4 > limit) throw new MalformedError('a section is cut short')
  const end = at + frame.readInt32LE(at)
  if (end > limit || end < at + 6) throw new MalformedError('a section has a wrong length')
  const documents = afterCString(frame, at + 4, end)
  const name = frame.toString('latin1', at + 4, documents - 1)
  if (!SEQUENCES.has(name)) throw new MalformedError(`a message has a section '${name}'`)
  // The server behind takes no empty one.
  if (documents === end) throw new MalformedError(`the section '${name}' is empty`)
  for (let position = documents; position < end;) position = checkDocument(frame, position, end)
  return { name, end }
}

function parseQuery(frame: Buffer): WireRequest {
  if (frame.length < HEADER_BYTES + 4 + 2) throw new MalformedError('a query is cut short')
  const nameAt = HEADER_BYTES + 4
  const nameEnd = afterCString(frame, nameAt, frame.length)
  const namespace = frame.toString('latin1', nameAt, nameEnd - 1)
  if (!namespace.endsWith('.$cmd')) throw new MalformedError('queries in the old form are taken for commands only')
  const bodyAt = nameEnd + 8
  let end = checkDocument(frame, bodyAt, frame.length)
  if (end < frame.length) end = checkDocument(frame, end, frame.length)
  if (end !== frame.length) throw new MalformedError('a query is followed by something')
  return {
    form: 'query',
    requestId: frame.readInt32LE(4),
    fields: elementsOf(frame, bodyAt),
    sequences: [],
    database: namespace.slice(0, -'.$cmd'.length),
    bytes: frame,
    bodyAt,
    unacknowledged: false,
  }
}

/**
 * The same message as the server behind takes it: without a checksum, and with no flags (it knows no message without an answer).
 * Changes the frame in place.
 */
export function toPlainMessage(request: WireRequest): Buffer {
  const { bytes } = request
  const flags = bytes.readUInt32LE(HEADER_BYTES)
  const plain = (flags & CHECKSUM_PRESENT) !== 0 ? bytes.subarray(0, bytes.length - 4) : bytes
  plain.writeInt32LE(plain.length, 0)
  plain.writeUInt32LE(0, HEADER_BYTES)
  return plain
}

/** An answer in the form that the request has. */
export function encodeReply(to: Pick<WireRequest, 'form' | 'requestId'>, answer: Document): Buffer {
  const body = serialize(answer)
  const head = Buffer.alloc(HEADER_BYTES + (to.form === 'msg' ? 5 : 20))
  head.writeInt32LE(head.length + body.length, 0)
  head.writeInt32LE(to.requestId, 8)
  if (to.form === 'msg') head.writeInt32LE(OP_MSG, 12)
  else {
    head.writeInt32LE(OP_REPLY, 12)
    head.writeInt32LE(8, HEADER_BYTES) // "await capable", as every server since 1.6 says
    head.writeInt32LE(1, HEADER_BYTES + 16)
  }
  return Buffer.concat([head, body])
}
