import { writeSync } from 'node:fs'
import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { TLSSocket } from 'node:tls'
import { getSystemErrorName } from 'node:util'
import { coded } from '../failures.js'

interface WriteRequest {
  oncomplete?: (status: number) => void
}
interface Handle {
  readonly fd: number
  /** Bytes that the system has not taken yet, the stream's own included. */
  readonly writeQueueSize: number
  /** 0, or the error's number. */
  writeLatin1String(request: WriteRequest, text: string): number
}
interface StreamWrap {
  readonly WriteWrap: new () => WriteRequest
  readonly kLastWriteWasAsync: number
  readonly streamBaseState: Int32Array
}

/**
 * What net.Socket itself writes by. Almost every write of the router is taken by the system at once; then the stream's account of it
 * costs more than it tells.
 */
const wrap = ((): StreamWrap | undefined => {
  try {
    const { binding } = process as unknown as { readonly binding: (name: string) => Partial<StreamWrap> }
    const { WriteWrap, kLastWriteWasAsync, streamBaseState } = binding('stream_wrap')
    if (
      typeof WriteWrap !== 'function' ||
      typeof kLastWriteWasAsync !== 'number' ||
      typeof streamBaseState?.[kLastWriteWasAsync] !== 'number'
    )
      return undefined
    return { WriteWrap, kLastWriteWasAsync, streamBaseState }
  } catch {
    return undefined
  }
})()

/** One for all: the system keeps a request only if it could not write at once. */
let spare = wrap && new wrap.WriteWrap()

/** Writes to one socket past its stream wherever the stream has nothing to say. */
export class DirectWriter {
  readonly #socket: Socket | undefined
  #pending = 0
  #taken = 0

  constructor(socket: Duplex) {
    this.#socket = wrap && socket instanceof Socket && !(socket instanceof TLSSocket) ? socket : undefined
  }

  /** Whether anything ever goes past the stream. */
  get isPossible(): boolean {
    return this.#socket !== undefined
  }

  /** Bytes that the peer has not taken yet, besides the stream's own. Once there are none, 'drain' is emitted. */
  get pending(): number {
    return this.#pending
  }

  /** All that the system has not taken yet, where the socket's handle tells. */
  get queued(): number | undefined {
    return handleOf(this.#socket)?.writeQueueSize
  }

  /** Bytes that were written by {@link take}, of which the socket's own account does not know. */
  get taken(): number {
    return this.#taken
  }

  /** Whether it was written, or will be; if not, it is for the stream. Latin-1: each character is a byte. */
  write(text: string): boolean {
    const socket = this.#socket
    const handle = this.#idleHandle()
    if (!socket || !wrap || !spare || typeof handle?.writeLatin1String !== 'function') return false
    const request = spare
    const error = handle.writeLatin1String(request, text)
    if (error !== 0) this.#fail(socket, error)
    else if (wrap.streamBaseState[wrap.kLastWriteWasAsync] !== 0) this.#await(socket, request, text.length)
    return true
  }

  /**
   * Writes as many of the bytes as the system takes at once, and says how many those are; the others are for the stream. Nothing of
   * them is kept, so they may lie where the next read goes.
   */
  take(bytes: Buffer): number {
    if (this.#pending > 0) return 0
    const { fd = -1 } = this.#idleHandle() ?? {}
    if (fd < 0) return 0
    try {
      const taken = writeSync(fd, bytes)
      this.#taken += taken
      return taken
    } catch {
      // It takes nothing now, or never will: the stream finds out.
      return 0
    }
  }

  /** The socket's handle where nothing of the stream's is under way. */
  #idleHandle(): Partial<Handle> | undefined {
    const socket = this.#socket
    if (!socket || socket.connecting || socket.writableLength > 0 || socket.writableCorked > 0 || !socket.writable)
      return undefined
    return handleOf(socket)
  }

  #await(socket: Socket, request: WriteRequest, bytes: number): void {
    spare = wrap && new wrap.WriteWrap()
    this.#pending += bytes
    request.oncomplete = (status) => {
      this.#pending -= bytes
      if (socket.destroyed) return
      if (status < 0) socket.destroy(writeError(status))
      else if (this.#pending === 0 && !socket.writableNeedDrain) socket.emit('drain')
    }
  }

  /** As a stream's write does: not before the caller is through. */
  #fail(socket: Socket, error: number): void {
    process.nextTick(() => socket.destroy(writeError(error)))
  }
}

function handleOf(socket: Socket | undefined): Partial<Handle> | undefined {
  const { _handle: handle } = (socket ?? {}) as { readonly _handle?: Partial<Handle> | null }
  return handle ?? undefined
}

const writeError = (error: number): Error => {
  const code = getSystemErrorName(error)
  return coded(code, `write ${code}`)
}
