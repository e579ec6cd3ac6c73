import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import net from 'node:net'
import { getSystemErrorName } from 'node:util'
import { ConfigError } from '@bloomery/config'

/** A socket that is bound and, in this process, accepts nothing: connections wait in its queue for whoever shares it. */
export interface BoundSocket {
  readonly fd: number
  readonly port: number
  close(): void
}

/** Node's own way to a bound socket without accepting on it; its cluster module uses the same. */
interface BoundHandle {
  readonly fd: number
  getsockname(out: { port?: number }): number
  close(): void
}
type CreateHandle = (address: string, port: number, family: 4 | 6) => BoundHandle | number
const createHandle = (net as unknown as { readonly _createServerHandle: CreateHandle })._createServerHandle

/** Binds an address; throws a ConfigError that names the variable to change, and who has the port where that can be seen. */
export function bindSocket(address: string, port: number, variable: string): BoundSocket {
  const bound = createHandle(address, port, address.includes(':') ? 6 : 4)
  if (typeof bound === 'number') throw bindError(getSystemErrorName(bound), address, port, variable)
  const actual: { port?: number } = {}
  bound.getsockname(actual)
  // A port that is taken shows only in that the socket has none.
  if (!actual.port || (port !== 0 && actual.port !== port)) {
    bound.close()
    throw bindError('EADDRINUSE', address, port, variable)
  }
  return { fd: bound.fd, port: actual.port, close: () => bound.close() }
}

function bindError(code: string, address: string, port: number, variable: string): ConfigError {
  switch (code) {
    case 'EADDRINUSE': {
      const owner = findOwner(port)
      return new ConfigError(
        `Port ${port} on ${address} is taken${owner === undefined ? '' : ` by ${owner}`}. Stop what uses it, or set ${variable} to a free port.`,
      )
    }
    case 'EACCES':
      return new ConfigError(
        `Port ${port} needs privileges that this user does not have. Set ${variable} to a port above 1023, or grant the right to bind it (setcap cap_net_bind_service=+ep on node).`,
      )
    case 'EADDRNOTAVAIL':
      return new ConfigError(
        `${address} is no address of this machine. Set BLOOMERY_BIND to one that is, e.g. 127.0.0.1 or 0.0.0.0.`,
      )
    default:
      return new ConfigError(`Cannot listen on ${address}:${port} (${code}). Check BLOOMERY_BIND and ${variable}.`)
  }
}

/** The process that listens on the port, as far as /proc tells this user. */
function findOwner(port: number): string | undefined {
  try {
    const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`
    const inodes = ['/proc/net/tcp', '/proc/net/tcp6']
      .flatMap((path) => readFileSync(path, 'utf8').split('\n').slice(1))
      .map((line) => line.trim().split(/\s+/))
      .filter((fields) => fields[1]?.endsWith(suffix) === true && fields[3] === '0A')
      .map((fields) => `socket:[${fields[9] ?? ''}]`)
    const pid = readdirSync('/proc').find((name) => /^\d+$/.test(name) && holdsSocket(name, inodes))
    return pid && `${readFileSync(`/proc/${pid}/comm`, 'utf8').trim()} (process ${pid})`
  } catch {
    return undefined // not Linux: the message does without the name
  }
}

function holdsSocket(pid: string, sockets: readonly string[]): boolean {
  try {
    return readdirSync(`/proc/${pid}/fd`).some((fd) => {
      try {
        return sockets.includes(readlinkSync(`/proc/${pid}/fd/${fd}`))
      } catch {
        return false // closed meanwhile
      }
    })
  } catch {
    return false // another user's process
  }
}
