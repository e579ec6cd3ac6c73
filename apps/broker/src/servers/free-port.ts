import { randomInt } from 'node:crypto'
import { createServer } from 'node:net'

/** Below the range from which Linux takes ports for outgoing connections, apart from those of instances. */
const FIRST = 30_100
const LAST = 32_700

/** Ports that nobody has: neither a program of this machine now, nor one of `taken`. */
export async function freePorts(address: string, count: number, taken: ReadonlySet<number>): Promise<number[]> {
  const size = LAST - FIRST + 1
  const start = randomInt(size)
  const chosen: number[] = []
  for (let i = 0; i < size && chosen.length < count; i++) {
    const port = FIRST + ((start + i) % size)
    if (!taken.has(port) && (await isFree(address, port))) chosen.push(port)
  }
  if (chosen.length < count) throw new Error(`No free port between ${FIRST} and ${LAST} at ${address}.`)
  return chosen
}

const isFree = (host: string, port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(true)))
  })
