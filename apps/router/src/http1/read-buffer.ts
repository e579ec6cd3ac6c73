import { Socket, type SocketConstructorOpts } from 'node:net'
import type { Duplex } from 'node:stream'

/** What one read brings at most. Large bodies cost by the read; beyond this they no longer fit the processor's caches. */
const READ_BYTES = 256 * 1024
/** Before what is read there is always room for a text of this length, see {@link prefixed}. */
const ROOM_BYTES = 16 * 1024

const whole = Buffer.allocUnsafeSlow(ROOM_BYTES + READ_BYTES)
/**
 * All plain sockets of the process read into one buffer: a read is over before the next one begins, and Node would otherwise allocate
 * 64 KB for each. Whoever keeps bytes beyond the call copies them.
 */
const shared = whole.subarray(ROOM_BYTES)

/** The bytes themselves, or a copy where they would be overwritten by the next read. */
export const keepable = (bytes: Buffer): Buffer => (bytes.buffer === shared.buffer ? Buffer.from(bytes) : bytes)

/**
 * Text and bytes in one piece, without copying the bytes: what lies before them in the shared buffer has been dealt with by then.
 * Latin-1. Undefined where they lie elsewhere.
 */
export function prefixed(text: string, bytes: Buffer): Buffer | undefined {
  const from = bytes.byteOffset - text.length
  if (bytes.buffer !== shared.buffer || from < 0) return undefined
  whole.write(text, from, 'latin1')
  return whole.subarray(from, bytes.byteOffset + bytes.length)
}

/** Buffers for copies, by size; the smallest that is large enough is taken. */
const POOLS = [
  { bytes: 64 * 1024, most: 64, spare: [] as Buffer[] },
  { bytes: whole.length, most: 8, spare: [] as Buffer[] },
] as const

/** Writes bytes, which may be overwritten afterwards; copies go into buffers that serve again once they are written. */
export function writeCopied(socket: Duplex, bytes: Buffer): void {
  if (bytes.buffer !== shared.buffer) {
    socket.write(bytes)
    return
  }
  const pool = bytes.length <= POOLS[0].bytes ? POOLS[0] : POOLS[1]
  const copy = pool.spare.pop() ?? Buffer.allocUnsafeSlow(pool.bytes)
  bytes.copy(copy)
  socket.write(copy.subarray(0, bytes.length), () => {
    if (pool.spare.length < pool.most) pool.spare.push(copy)
  })
}

type OnBytes = (bytes: Buffer) => void

interface OnRead {
  readonly buffer: Buffer
  readonly callback: (length: number) => boolean
}

const intoShared = (onBytes: OnBytes): OnRead => ({
  buffer: shared,
  callback: (length) => {
    onBytes(shared.subarray(0, length))
    return true
  },
})

/**
 * Reads a socket into the shared buffer. Node offers that for sockets that are made here (`onread`), not for those that a server
 * accepts: what the option sets is set by hand. A socket of another kind, or a Node that keeps it elsewhere, tells by 'data'.
 */
export function readInto(socket: Duplex, onBytes: OnBytes): void {
  if (!(socket instanceof Socket) || !adopt(socket, onBytes)) {
    socket.on('data', onBytes)
    return
  }
  // What came behind a load balancer's header waits in the stream, past which the buffer goes.
  const early = socket.readableLength > 0 ? (socket.read() as Buffer | null) : null
  if (early) process.nextTick(onBytes, early)
}

function adopt(socket: Socket, onBytes: OnBytes): boolean {
  const { _handle: handle } = socket as unknown as {
    readonly _handle?: { readonly useUserBuffer?: (buffer: Buffer) => void } | null
  }
  if (!places || (handle && typeof handle.useUserBuffer !== 'function')) return false
  const option = intoShared(onBytes)
  const fields = socket as unknown as Record<symbol, unknown>
  fields[places.buffer] = option.buffer
  fields[places.callback] = option.callback
  // A socket that has yet to connect does this itself.
  handle?.useUserBuffer?.(shared)
  return true
}

const places = ((): { readonly buffer: symbol; readonly callback: symbol } | undefined => {
  const option = intoShared(() => undefined)
  const socket = new Socket({ onread: option } as SocketConstructorOpts)
  const fields = socket as unknown as Record<symbol, unknown>
  const symbols = Object.getOwnPropertySymbols(socket)
  socket.destroy()
  const buffer = symbols.find((symbol) => symbol.description === 'kBuffer' && fields[symbol] === option.buffer)
  const callback = symbols.find((symbol) => symbol.description === 'kBufferCb' && fields[symbol] === option.callback)
  return buffer && callback && { buffer, callback }
})()
