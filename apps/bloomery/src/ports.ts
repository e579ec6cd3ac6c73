import { existsSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { connect, createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { z } from 'zod'
import { LaunchError } from './launch-error.js'

const LOOPBACK = '127.0.0.1'

/** Listeners between roles, on loopback. Chosen once, so that roles which outlive the launcher are found again. */
const InternalPorts = z.object({
  api: z.number(),
  apiInternal: z.number(),
  scheduler: z.number(),
  logs: z.number(),
  broker: z.number(),
})
export type InternalPorts = z.output<typeof InternalPorts>

/**
 * The ports of run/ports.json; where there are none, free ones. `inUse` tells that roles of an earlier start still hold them;
 * otherwise one that another program has taken meanwhile is chosen anew.
 */
export async function internalPorts(path: string, inUse: boolean): Promise<InternalPorts> {
  // A version before this one knew fewer of them.
  const known = existsSync(path) ? InternalPorts.partial().safeParse(JSON.parse(readFileSync(path, 'utf8'))).data : undefined
  const ports = {} as Record<keyof InternalPorts, number>
  for (const name of Object.keys(InternalPorts.shape) as (keyof InternalPorts)[]) {
    const wish = known?.[name]
    const others = [...Object.values(known ?? {}), ...Object.values(ports)].filter((port) => port !== undefined)
    ports[name] = wish !== undefined && (inUse || (await isFree(LOOPBACK, wish))) ? wish : await freePort(others)
  }
  writeFileSync(`${path}.new`, JSON.stringify(ports))
  renameSync(`${path}.new`, path)
  return ports
}

const TCP_ROUTES = { first: 20_000, last: 29_999, count: 50 }

/**
 * The range for TCP routes where the operator names none: chosen once, so that addresses which were given out stay good, and free then,
 * so that a second platform on this machine has ports of its own.
 */
export async function tcpRoutePorts(path: string, bind: string): Promise<string> {
  const known = existsSync(path) ? z.string().safeParse(JSON.parse(readFileSync(path, 'utf8'))).data : undefined
  if (known !== undefined) return known
  const ports = await findFreeRange(bind)
  writeFileSync(`${path}.new`, JSON.stringify(ports))
  renameSync(`${path}.new`, path)
  return ports
}

async function findFreeRange(bind: string): Promise<string> {
  const { first, last, count } = TCP_ROUTES
  for (let from = first; from + count - 1 <= last; from += count) {
    const range = Array.from({ length: count }, (_, i) => from + i)
    const free = await Promise.all(range.map((port) => isFree(bind, port)))
    if (free.every(Boolean)) return `${from}-${from + count - 1}`
  }
  return 'none'
}

/** Fails with the variable to set when a public port is taken. */
export async function requirePublicPorts(bind: string, wanted: readonly { name: string; port: number }[]): Promise<void> {
  for (const { name, port } of wanted) {
    if (port === 0) continue
    const problem = await listenProblem(bind, port)
    if (problem === undefined) continue
    throw new LaunchError(
      problem === 'EACCES'
        ? `Port ${port} on ${bind} needs more rights than this user has. Set ${name} to a port above 1023, or start as root.`
        : problem === 'EADDRNOTAVAIL'
          ? `This machine has no address ${bind}. Set BLOOMERY_BIND to one of its own (127.0.0.1, 0.0.0.0, …).`
          : `Port ${port} on ${bind} is taken by another program. Stop that one, or choose another port: ${name}=${port + 1000} npm start`,
    )
  }
}

/** Whether workers of a router that was killed hold the public ports: the next router takes them over. */
export async function routerWorkersServe(run: string): Promise<boolean> {
  const folder = join(run, 'router')
  const sockets = existsSync(folder) ? readdirSync(folder).filter((name) => /^w\d+\.sock$/.test(name)) : []
  return (await Promise.all(sockets.map((name) => answers(join(folder, name))))).includes(true)
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path })
    socket.once('error', () => resolve(false))
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
  })
}

export const isFree = async (host: string, port: number): Promise<boolean> => (await listenProblem(host, port)) === undefined

function listenProblem(host: string, port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(undefined)))
  })
}

async function freePort(taken: readonly number[]): Promise<number> {
  for (;;) {
    const port = await new Promise<number>((resolve, reject) => {
      const server = createServer()
      server.once('error', reject)
      server.listen(0, LOOPBACK, () => {
        const { port: found } = server.address() as AddressInfo
        server.close(() => resolve(found))
      })
    })
    if (!taken.includes(port)) return port
  }
}
