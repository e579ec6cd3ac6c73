import { RawHeaders } from '../proxy/raw-headers.js'
import { Llhttp, PAUSE, SKIP_BODY, WINDOW_BYTES, type LlhttpEvents } from './llhttp.js'

/** Bytes of a chunk that are looked at for a head at once. */
const HEAD_WINDOW_BYTES = 16 * 1024
const MAX_TRAILER_BYTES = 64 * 1024

const NOTHING = 0
const FIELD = 1
const VALUE = 2

/**
 * Reads messages of one connection, one after another: a head, then (chunked ones only) the body. What lies between two heads
 * otherwise is the caller's to count. Reads alike however the bytes are cut into chunks.
 */
export class MessageParser implements LlhttpEvents {
  readonly #llhttp: Llhttp
  readonly #isResponse: boolean
  /** Names and values in turn, of the head or of the trailer. */
  #fields: string[] = []
  #last = NOTHING
  /** Whether the part that llhttp tells of may continue one of the chunk before. */
  #continues = false
  #text = ''
  #chunk: Buffer = EMPTY
  #from = 0
  #to = 0
  #fresh = true
  #headBytes = 0
  /** Bytes of empty lines before the request. */
  #leading = 0
  #targetBegun = false
  #targetAt = 0
  #lineChecked = false
  #cutAfterCr = false
  #trailerBytes = 0
  #complete = false

  /** Whether the head, or the chunked body, has been read to its end. */
  done = false
  /** Why it cannot be read. */
  error: string | undefined
  target = ''
  status = 0
  reason = ''
  chunked = false
  keepAlive = false
  /** The answer has no body whatever its fields say: it is one to HEAD. */
  bodiless = false
  /** Parts of the last chunk that are body: offset and length in turn. */
  readonly spans: number[] = []

  constructor(type: 'request' | 'response') {
    this.#llhttp = new Llhttp(type, this)
    this.#isResponse = type === 'response'
  }

  get method(): string {
    return this.#llhttp.method
  }

  get httpVersion(): string {
    return this.#llhttp.httpVersion
  }

  /** Bytes of the present head so far. */
  get headBytes(): number {
    return this.#headBytes
  }

  /** Whether anything of the next message has been read. */
  get hasBegun(): boolean {
    return this.#headBytes > 0
  }

  /** The fields of the head, and after a chunked body those of the trailer. */
  takeFields(): RawHeaders {
    const headers = RawHeaders.from(this.#fields)
    this.#fields = []
    return headers
  }

  /** Reads a head from the chunk; returns where it stopped. Sets `done` at the end of the head, `error` if it is none. */
  readHead(chunk: Buffer, from: number): number {
    if (this.#fresh) this.#begin()
    if (this.#isResponse && !this.#lineChecked && from < chunk.length) {
      this.#checkStatusLine(chunk, from)
      if (this.error !== undefined) return chunk.length
    }
    while (from < chunk.length && !this.done && this.error === undefined) {
      if (this.#headBytes === this.#leading && !this.#isResponse) this.#readLeading(chunk, from)
      const to = Math.min(chunk.length, from + HEAD_WINDOW_BYTES)
      const stopped = this.#execute(chunk, from, to)
      this.#headBytes += stopped - from
      from = stopped
      if (this.#complete && this.error === undefined) {
        this.done = true
        this.#fresh = true
        this.#trimValues()
        if (this.chunked) this.#beginChunks()
      }
    }
    return from
  }

  /** Reads chunks of a body; `spans` tells which bytes are its own. Sets `done` after the trailer, `error` if it is malformed. */
  readChunks(chunk: Buffer, from: number): number {
    this.spans.length = 0
    while (from < chunk.length && !this.done && this.error === undefined) {
      const to = Math.min(chunk.length, from + WINDOW_BYTES)
      from = this.#execute(chunk, from, to)
      if (this.#trailerBytes > MAX_TRAILER_BYTES) this.error = 'Trailer too large'
      if (this.#complete) {
        this.done = true
        this.#trimValues()
      }
    }
    return from
  }

  /** The message is over; the next byte is the first of another. */
  rest(): void {
    this.#fresh = true
    this.#headBytes = 0
  }

  free(): void {
    this.#llhttp.free()
  }

  /** Empty lines before a request are allowed; llhttp takes any mix of their bytes. */
  #readLeading(chunk: Buffer, from: number): void {
    for (let at = from; at < chunk.length; at++) {
      const byte = chunk[at]
      if (byte !== CR && byte !== LF) {
        if (this.#leading % 2 === 1) this.error = 'Malformed line end'
        return
      }
      if (byte !== (this.#leading++ % 2 === 0 ? CR : LF)) this.error = 'Malformed line end'
    }
  }

  /** llhttp passes over line ends before a status line, and takes any byte after the CR for its end. */
  #checkStatusLine(chunk: Buffer, from: number): void {
    if (this.#headBytes === 0 && chunk[from] !== CAPITAL_H) this.error = 'Malformed status line'
    const at = this.#cutAfterCr ? from - 1 : chunk.indexOf(CR, from)
    this.#cutAfterCr = at !== -1 && at + 1 === chunk.length
    if (at === -1 || this.#cutAfterCr) return
    this.#lineChecked = true
    if (chunk[at + 1] !== LF) this.error = 'Malformed status line'
  }

  #begin(): void {
    this.#llhttp.reset()
    this.#leading = 0
    this.#targetBegun = false
    this.#lineChecked = false
    this.#cutAfterCr = false
    this.#fresh = false
    this.#fields = []
    this.#last = NOTHING
    this.#headBytes = 0
    this.#complete = false
    this.done = false
    this.target = ''
    this.reason = ''
    this.chunked = false
  }

  #beginChunks(): void {
    this.#llhttp.resume()
    this.#last = NOTHING
    this.#trailerBytes = 0
    this.#complete = false
  }

  /** After the head `done` says that of the head; the body's begins anew. */
  startBody(): void {
    this.done = false
  }

  #execute(chunk: Buffer, from: number, to: number): number {
    this.#chunk = chunk
    this.#from = from
    this.#to = to
    this.#text = ''
    this.#continues = true
    const read = this.#llhttp.execute(chunk, from, to)
    this.#chunk = EMPTY
    this.#text = ''
    if (read === -2) this.error = this.#llhttp.errorReason || 'Malformed message'
    return read < 0 ? to : from + read
  }

  #part(at: number, length: number): string {
    if (this.#text === '') this.#text = this.#chunk.toString('latin1', this.#from, this.#to)
    return this.#text.slice(at, at + length)
  }

  /** llhttp leaves spaces at the end of a value, and says nothing of an empty one at the very end. */
  #trimValues(): void {
    const fields = this.#fields
    if (this.#last === FIELD) fields.push('')
    this.#last = NOTHING
    for (let i = 1; i < fields.length; i += 2) {
      const value = fields[i] ?? ''
      const code = value.charCodeAt(value.length - 1)
      if (code === SPACE || code === TAB) fields[i] = value.replace(/[ \t]+$/, '')
    }
  }

  onUrl(at: number, length: number): void {
    if (!this.#targetBegun) {
      this.#targetBegun = true
      // llhttp takes any number of spaces there.
      this.#targetAt = this.#headBytes + at
      if (this.#targetAt !== this.#leading + this.method.length + 1) this.error = 'Malformed request line'
    }
    this.target += this.#part(at, length)
  }

  onStatus(at: number, length: number): void {
    const part = this.#part(at, length)
    // llhttp lets these pass.
    if (NOT_IN_REASON.test(part)) this.error = 'Malformed status line'
    this.reason += part
  }

  onHeaderField(at: number, length: number): void {
    if (!this.#lineChecked && !this.#isResponse) {
      this.#lineChecked = true
      // Nor does it mind more spaces here. A request without any field is refused for want of a Host.
      if (this.#headBytes + at !== this.#targetAt + this.target.length + AFTER_TARGET.length)
        this.error = 'Malformed request line'
    }
    const fields = this.#fields
    if (this.#last === FIELD && this.#continues) this.#append(this.#part(at, length))
    else {
      if (this.#last === FIELD) fields.push('')
      fields.push(this.#part(at, length))
    }
    this.#last = FIELD
    this.#continues = false
    this.#trailerBytes += length
  }

  onHeaderValue(at: number, length: number): void {
    const fields = this.#fields
    if (this.#last === VALUE) this.#append(this.#part(at, length))
    else fields.push(this.#part(at, length))
    this.#last = VALUE
    this.#continues = false
    this.#trailerBytes += length
  }

  #append(more: string): void {
    const at = this.#fields.length - 1
    this.#fields[at] = `${this.#fields[at] ?? ''}${more}`
  }

  onBody(at: number, length: number): void {
    this.spans.push(this.#from + at, length)
  }

  onHeadersComplete(status: number, shouldKeepAlive: boolean): number {
    this.status = status
    this.keepAlive = shouldKeepAlive
    this.chunked = this.#mayHaveBody(status) && this.#hasTransferEncoding()
    if (!this.chunked) return SKIP_BODY
    this.#complete = true
    return PAUSE
  }

  onMessageComplete(): void {
    this.#complete = true
  }

  #mayHaveBody(status: number): boolean {
    return !this.#isResponse || !(this.bodiless || status < 200 || status === 204 || status === 304)
  }

  #hasTransferEncoding(): boolean {
    const fields = this.#fields
    for (let i = 0; i < fields.length; i += 2) {
      const name = fields[i] ?? ''
      if (name.length === TRANSFER_ENCODING.length && name.toLowerCase() === TRANSFER_ENCODING) return true
    }
    return false
  }
}

const NOT_IN_REASON = /[^\t\x20-\x7e\x80-\xff]/
const EMPTY = Buffer.alloc(0)
const TRANSFER_ENCODING = 'transfer-encoding'
const AFTER_TARGET = ' HTTP/1.1\r\n'
const CR = 13
const LF = 10
const SPACE = 32
const CAPITAL_H = 72
const TAB = 9
