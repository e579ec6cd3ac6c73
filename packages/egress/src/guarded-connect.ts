import { lookup } from 'node:dns/promises'
import { connect as connectTcp, isIP, type Socket } from 'node:net'
import { connect as connectTls, type ConnectionOptions } from 'node:tls'
import { refuseTenantAddress, type TenantAddressPolicy } from '@bloomery/domain'

/** An address that the platform does not connect to on behalf of a tenant. Nothing was sent. */
export class RefusedAddressError extends Error {
  override readonly name = 'RefusedAddressError'
  readonly code = 'EREFUSEDADDRESS'
}

export interface ConnectTarget {
  /** A name, or an address without brackets. */
  readonly host: string
  readonly port: number
  /** Speaks TLS, verified for `host`, where given. */
  readonly tls?: Pick<ConnectionOptions, 'ca' | 'cert' | 'key' | 'ALPNProtocols' | 'servername'>
  /** For all of it: resolving, connecting, shaking hands. @default 10 s */
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
}

/** Resolves names for `guardedConnect`; another one for tests. */
type Resolve = (host: string) => Promise<readonly { readonly address: string }[]>
const systemResolve: Resolve = (host) => lookup(host, { all: true, verbatim: true })

/**
 * Connects to where a tenant pointed us: resolves, judges, and connects to an address that was judged, trying one after another.
 * Rejects with RefusedAddressError when none may be connected to, else with the last attempt's error.
 */
export async function guardedConnect(
  policy: TenantAddressPolicy,
  target: ConnectTarget,
  resolve = systemResolve,
): Promise<Socket> {
  const deadline = AbortSignal.timeout(target.timeoutMs ?? 10_000)
  const signal = target.signal ? AbortSignal.any([target.signal, deadline]) : deadline
  const addresses = isIP(target.host) ? [{ address: target.host }] : await orAborted(resolve(target.host), signal)
  const refusals: string[] = []
  let failure: Error | undefined
  for (const { address } of addresses) {
    const refused = refuseTenantAddress(policy, address, target.port)
    if (refused) {
      refusals.push(refused)
      continue
    }
    try {
      return await connectOne(target, address, signal)
    } catch (error) {
      if (signal.aborted) throw timedOutOr(error, target, deadline)
      failure = asError(error)
    }
  }
  if (failure !== undefined) throw failure
  throw new RefusedAddressError(
    refusals.length === 0
      ? `${target.host} has no address.`
      : `${target.host} leads to an address that is ${describe(refusals)}; ask the operator to allow it (BLOOMERY_TENANT_ADDRESSES).`,
  )
}

/** `guardedConnect` as undici's `connect` option. */
export function guardedConnector(policy: TenantAddressPolicy, tls: ConnectTarget['tls'] = {}, timeoutMs?: number) {
  return (
    options: {
      readonly hostname: string
      readonly port?: string
      readonly protocol: string
      readonly servername?: string | null
    },
    callback: (...result: [null, Socket] | [Error, null]) => void,
  ): void => {
    const isTls = options.protocol === 'https:'
    guardedConnect(policy, {
      host: options.hostname.replace(/^\[|\]$/g, ''),
      port: Number(options.port === undefined || options.port === '' ? (isTls ? 443 : 80) : options.port),
      ...(isTls ? { tls: { ALPNProtocols: ['http/1.1'], ...tls } } : {}),
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
    }).then(
      (socket) => callback(null, socket),
      (error: unknown) => callback(asError(error), null),
    )
  }
}

function connectOne({ host, port, tls }: ConnectTarget, address: string, signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    // An address has no name to offer; the certificate must then carry the address.
    const servername = tls?.servername ?? (isIP(host) ? undefined : host)
    const socket = tls
      ? connectTls({ ...tls, host: address, port, ...(servername === undefined ? {} : { servername }) })
      : connectTcp({ host: address, port })
    const settle = (): void => {
      signal.removeEventListener('abort', abort)
      socket.removeListener('error', fail)
    }
    const fail = (error: Error): void => {
      settle()
      socket.destroy()
      reject(error)
    }
    const abort = (): void => fail(asError(signal.reason))
    if (signal.aborted) return abort()
    signal.addEventListener('abort', abort)
    socket.once('error', fail)
    socket.once(tls ? 'secureConnect' : 'connect', () => {
      settle()
      resolve(socket)
    })
  })
}

const asError = (error: unknown): Error => (isError(error) ? error : new Error(String(error)))
const isError = (error: unknown): error is Error =>
  typeof error === 'object' && error !== null && 'message' in error && 'name' in error

const timedOutOr = (error: unknown, { host, port }: ConnectTarget, deadline: AbortSignal): unknown =>
  deadline.aborted ? new Error(`${host}:${port} did not answer in time`, { cause: error }) : error

async function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  let abort: () => void = () => undefined
  const aborted = new Promise<never>((_resolve, reject) => {
    abort = () => reject(asError(signal.reason))
    if (signal.aborted) abort()
    signal.addEventListener('abort', abort)
  })
  try {
    return await Promise.race([work, aborted])
  } finally {
    signal.removeEventListener('abort', abort)
  }
}

const describe = (kinds: readonly string[]): string => [...new Set(kinds)].join(' or ')
