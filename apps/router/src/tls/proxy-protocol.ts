import type { Socket } from 'node:net'
import { isIP } from 'node:net'
import { giveBack, lookAtFirstBytes } from './first-bytes.js'

/** What the beginning of a connection says of the client behind a load balancer (PROXY protocol, versions 1 and 2). */
export type ProxyHeader =
  | { readonly kind: 'incomplete' }
  /** There is none. */
  | { readonly kind: 'none' }
  | { readonly kind: 'invalid' }
  /** `client` is absent for connections of the load balancer's own (UNKNOWN, LOCAL). */
  | {
      readonly kind: 'header'
      readonly length: number
      readonly client: { readonly address: string; readonly port: number } | undefined
    }

const INCOMPLETE: ProxyHeader = { kind: 'incomplete' }
const NONE: ProxyHeader = { kind: 'none' }
const INVALID: ProxyHeader = { kind: 'invalid' }
const V1 = Buffer.from('PROXY ')
const MAX_V1_BYTES = 107
const V2 = Buffer.from([0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a])

export function readProxyHeader(bytes: Buffer): ProxyHeader {
  if (begins(bytes, V2)) return bytes.length < V2.length ? INCOMPLETE : readBinary(bytes)
  if (begins(bytes, V1)) return readText(bytes)
  return bytes.length === 0 ? INCOMPLETE : NONE
}

/** Whether the bytes are, as far as they go, those of the mark. */
const begins = (bytes: Buffer, mark: Buffer): boolean => {
  const length = Math.min(bytes.length, mark.length)
  return length > 0 && bytes.compare(mark, 0, length, 0, length) === 0
}

function readText(bytes: Buffer): ProxyHeader {
  const end = bytes.indexOf('\r\n')
  if (end === -1) return bytes.length > MAX_V1_BYTES ? INVALID : INCOMPLETE
  if (end + 2 > MAX_V1_BYTES) return INVALID
  const [, protocol, source = '', , sourcePort = '', destinationPort = ''] = bytes.toString('latin1', 0, end).split(' ')
  if (protocol === 'UNKNOWN') return { kind: 'header', length: end + 2, client: undefined }
  const family = protocol === 'TCP4' ? 4 : protocol === 'TCP6' ? 6 : 0
  if (family === 0 || isIP(source) !== family || !isPort(sourcePort) || !isPort(destinationPort)) return INVALID
  return { kind: 'header', length: end + 2, client: { address: source, port: Number(sourcePort) } }
}

const isPort = (text: string): boolean => /^(0|[1-9]\d{0,4})$/.test(text) && Number(text) <= 65_535

function readBinary(bytes: Buffer): ProxyHeader {
  if (bytes.length < 16) return INCOMPLETE
  const [versionAndCommand = 0, family = 0] = [bytes[12], bytes[13]]
  const length = 16 + bytes.readUInt16BE(14)
  if (versionAndCommand >> 4 !== 2 || (versionAndCommand & 15) > 1) return INVALID
  if (bytes.length < length) return length > 4096 ? INVALID : INCOMPLETE
  if ((versionAndCommand & 15) === 0) return { kind: 'header', length, client: undefined }
  if (family === 0x11 && length >= 16 + 12)
    return { kind: 'header', length, client: { address: [...bytes.subarray(16, 20)].join('.'), port: bytes.readUInt16BE(24) } }
  if (family === 0x21 && length >= 16 + 36)
    return { kind: 'header', length, client: { address: groups(bytes.subarray(16, 32)), port: bytes.readUInt16BE(48) } }
  // Other families name nobody whom an access log could name.
  return family === 0x11 || family === 0x21 ? INVALID : { kind: 'header', length, client: undefined }
}

/** In the shortest form, as sockets tell addresses. */
function groups(bytes: Buffer): string {
  const text = Array.from({ length: 8 }, (_, i) => bytes.readUInt16BE(2 * i).toString(16)).join(':')
  return new URL(`http://[${text}]/`).hostname.slice(1, -1)
}

/**
 * Takes the header off a connection that has just been accepted, and gives the connection on with the bytes after it. A connection
 * without a header passes as it is; one with a broken header, or with none in time, ends.
 */
export function takeProxyHeader(
  socket: Socket,
  timeoutMs: number,
  done: (client: { readonly address: string; readonly port: number } | undefined) => void,
): void {
  lookAtFirstBytes(socket, {
    timeoutMs,
    read: (bytes) => {
      const header = readProxyHeader(bytes)
      return header.kind === 'incomplete' ? undefined : header
    },
    done: (seen) => {
      if (seen.kind !== 'read' || seen.value.kind === 'invalid') return void socket.destroy()
      const header = seen.value.kind === 'header' ? seen.value : undefined
      giveBack(socket, seen.bytes.subarray(header?.length ?? 0))
      done(header?.client)
    },
  })
}
