import bytes from 'undici/lib/llhttp/llhttp_simd-wasm.js'

/** Told of what llhttp finds; `at` and `length` delimit the bytes in what was given to {@link execute}. */
export interface LlhttpEvents {
  onUrl(at: number, length: number): void
  onStatus(at: number, length: number): void
  onHeaderField(at: number, length: number): void
  onHeaderValue(at: number, length: number): void
  onBody(at: number, length: number): void
  /** Returns what llhttp shall do: {@link SKIP_BODY} or {@link PAUSE}. */
  onHeadersComplete(statusCode: number, shouldKeepAlive: boolean): number
  onMessageComplete(): void
}

/** From `onHeadersComplete`: the message ends with its head, as far as llhttp is concerned. */
export const SKIP_BODY = 1
/** From `onHeadersComplete`: stop here; {@link resume} goes on with the chunks. */
export const PAUSE = 21
const PAUSED_UPGRADE = 22
const TYPES = { request: 1, response: 2 } as const

interface Exports {
  readonly memory: WebAssembly.Memory
  malloc(size: number): number
  llhttp_alloc(type: number): number
  llhttp_free(parser: number): void
  llhttp_reset(parser: number): void
  llhttp_resume(parser: number): void
  llhttp_execute(parser: number, at: number, length: number): number
  llhttp_get_error_pos(parser: number): number
  llhttp_get_error_reason(parser: number): number
  llhttp_get_method(parser: number): number
  llhttp_method_name(method: number): number
  llhttp_get_http_major(parser: number): number
  llhttp_get_http_minor(parser: number): number
}

/** Bytes that are handed over at once. */
export const WINDOW_BYTES = 64 * 1024

const NOBODY: LlhttpEvents = {
  onUrl: () => undefined,
  onStatus: () => undefined,
  onHeaderField: () => undefined,
  onHeaderValue: () => undefined,
  onBody: () => undefined,
  onHeadersComplete: () => 0,
  onMessageComplete: () => undefined,
}

// Parsing is synchronous and never nested, so one parser at a time is the one that the calls back are for.
let listener: LlhttpEvents = NOBODY
const llhttp = new WebAssembly.Instance(new WebAssembly.Module(new Uint8Array(bytes)), {
  env: {
    wasm_on_message_begin: () => 0,
    wasm_on_url: (_parser: number, at: number, length: number) => {
      listener.onUrl(at - input, length)
      return 0
    },
    wasm_on_status: (_parser: number, at: number, length: number) => {
      listener.onStatus(at - input, length)
      return 0
    },
    wasm_on_header_field: (_parser: number, at: number, length: number) => {
      listener.onHeaderField(at - input, length)
      return 0
    },
    wasm_on_header_value: (_parser: number, at: number, length: number) => {
      listener.onHeaderValue(at - input, length)
      return 0
    },
    wasm_on_headers_complete: (_parser: number, statusCode: number, _upgrade: number, shouldKeepAlive: number) =>
      listener.onHeadersComplete(statusCode, shouldKeepAlive === 1),
    wasm_on_body: (_parser: number, at: number, length: number) => {
      listener.onBody(at - input, length)
      return 0
    },
    wasm_on_message_complete: () => {
      listener.onMessageComplete()
      return PAUSE
    },
  },
}).exports as unknown as Exports
const input = llhttp.malloc(WINDOW_BYTES)
let memory = Buffer.from(llhttp.memory.buffer)

function currentMemory(): Buffer {
  // Memory that grew is another object.
  if (memory.length !== llhttp.memory.buffer.byteLength) memory = Buffer.from(llhttp.memory.buffer)
  return memory
}

function textAt(address: number): string {
  const view = currentMemory()
  return address === 0 ? '' : view.toString('latin1', address, view.indexOf(0, address))
}

const methods = new Map<number, string>()

/** One llhttp parser, strict in all respects. */
export class Llhttp {
  readonly #parser: number
  #freed = false

  constructor(
    type: keyof typeof TYPES,
    private readonly events: LlhttpEvents,
  ) {
    this.#parser = llhttp.llhttp_alloc(TYPES[type])
  }

  /**
   * Reads at most {@link WINDOW_BYTES} of the chunk. Returns how many bytes were read when it was paused or the message is
   * complete, -1 when it wants more, -2 on an error.
   */
  execute(chunk: Buffer, from: number, to: number): number {
    chunk.copy(currentMemory(), input, from, to)
    listener = this.events
    const code = llhttp.llhttp_execute(this.#parser, input, to - from)
    listener = NOBODY
    if (code === 0) return -1
    if (code === PAUSE || code === PAUSED_UPGRADE) return llhttp.llhttp_get_error_pos(this.#parser) - input
    return -2
  }

  get errorReason(): string {
    return textAt(llhttp.llhttp_get_error_reason(this.#parser))
  }

  get method(): string {
    const id = llhttp.llhttp_get_method(this.#parser)
    const known = methods.get(id)
    if (known !== undefined) return known
    const name = textAt(llhttp.llhttp_method_name(id))
    methods.set(id, name)
    return name
  }

  get httpVersion(): string {
    const major = llhttp.llhttp_get_http_major(this.#parser)
    const minor = llhttp.llhttp_get_http_minor(this.#parser)
    return major === 1 && minor === 1 ? '1.1' : `${major}.${minor}`
  }

  /** Goes on after a pause. */
  resume(): void {
    llhttp.llhttp_resume(this.#parser)
  }

  /** Forgets what it has read; the next byte begins a message. */
  reset(): void {
    llhttp.llhttp_reset(this.#parser)
  }

  /** Gives back its memory; it must not be used any more. */
  free(): void {
    if (this.#freed) return
    this.#freed = true
    llhttp.llhttp_free(this.#parser)
  }
}
