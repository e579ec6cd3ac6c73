import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { TLSSocket } from 'node:tls'
import { getSystemErrorName } from 'node:util'
import { coded } from '../failures.js'

interface WriteRequest {
  oncomplete?: (status: number) => void
}
interface Handle {
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

  constructor(socket: Duplex) {
    this.#socket = wrap && socket instanceof Socket && !(socket instanceof TLSSocket) ? socket : undefined
  }

  /** Bytes that the peer has not taken yet, besides the stream's own. Once there are none, 'drain' is emitted. */
  get pending(): number {
    return this.#pending
  }

  /** Whether it was written, or will be; if not, it is for the stream. Latin-1: each character is a byte. */
  write(text: string): boolean {
    const socket = this.#socket
    if (
      !socket ||
      !wrap ||
      !spare ||
      socket.connecting ||
      socket.writableLength > 0 ||
      socket.writableCorked > 0 ||
      !socket.writable
    )
      return false
    const { _handle: handle } = socket as unknown as { readonly _handle?: Partial<Handle> | null }
    if (typeof handle?.writeLatin1String !== 'function') return false
    const request = spare
    const error = handle.writeLatin1String(request, text)
    if (error !== 0) this.#fail(socket, error)
    else if (wrap.streamBaseState[wrap.kLastWriteWasAsync] !== 0) this.#await(socket, request, text.length)
    return true
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

const writeError = (error: number): Error => {
  const code = getSystemErrorName(error)
  return coded(code, `write ${code}`)
}
