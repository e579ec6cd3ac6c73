import type { Socket } from 'node:net'

/** What came of looking at the beginning of a connection; `bytes` are all that has been read of it. */
export type FirstBytesSeen<T> =
  | { readonly kind: 'read'; readonly value: T; readonly bytes: Buffer }
  /** The client has not said enough in time. */
  | { readonly kind: 'late'; readonly bytes: Buffer }
  /** The client has ended its half before it had said enough; nothing can be given back to the socket any more. */
  | { readonly kind: 'ended'; readonly bytes: Buffer }

export interface FirstBytesQuestion<T> {
  /** Reads all that has come; undefined while more is needed to tell. It has to settle after a bounded number of bytes. */
  readonly read: (bytes: Buffer) => T | undefined
  readonly timeoutMs: number
  /** Told once, with the socket paused; never where the connection closes or fails before. */
  readonly done: (seen: FirstBytesSeen<T>) => void
}

/**
 * Looks at what a connection begins with before anybody else does. Whoever is told then gives the connection on, with the bytes that are
 * not its own put back ({@link giveBack}); until then this function alone reads it, and a failure of it ends it.
 */
export function lookAtFirstBytes<T>(socket: Socket, { read, timeoutMs, done }: FirstBytesQuestion<T>): void {
  let bytes: Buffer = Buffer.alloc(0)
  const fail = (): void => void socket.destroy()
  const stop = (): void => {
    clearTimeout(timer)
    socket.off('data', take)
    socket.off('end', end)
    socket.off('error', fail)
    socket.off('close', stop)
  }
  const settle = (seen: FirstBytesSeen<T>): void => {
    stop()
    socket.pause()
    done(seen)
  }
  const take = (chunk: Buffer): void => {
    bytes = bytes.length === 0 ? chunk : Buffer.concat([bytes, chunk])
    const value = read(bytes)
    if (value !== undefined) settle({ kind: 'read', value, bytes })
  }
  const end = (): void => settle({ kind: 'ended', bytes })
  const timer = setTimeout(() => settle({ kind: 'late', bytes }), timeoutMs)
  socket.on('data', take)
  socket.on('end', end)
  socket.on('error', fail)
  socket.on('close', stop)
  // It may have been accepted paused, or held by another that looked at it before.
  socket.resume()
}

/** Lets the next reader of a connection begin with these bytes. */
export function giveBack(socket: Socket, bytes: Buffer): void {
  if (bytes.length > 0) socket.unshift(bytes)
}
