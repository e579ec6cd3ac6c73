import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { anEndpoint, aRoute } from '../fake-scheduler.fixture.js'
import { startPlane, type TestPlane } from '../proxy/data-plane.fixture.js'
import { cut, Dice, generateBytes } from './generate.fixture.js'
import { readStrictly, type ReadRequest } from './strict-reader.fixture.js'

const PATIENT_MS = 3_000
/** Requests of the cases before. */
const MAX_REMEMBERED = 500

/** A data plane with an endpoint that reads strictly and remembers what reached it. */
export class Watched {
  readonly #seen: ReadRequest[] = []
  #cases = 0
  /** Bytes that no strict reader takes, which must never reach an endpoint. */
  malformed: string[] = []
  private constructor(
    readonly plane: TestPlane,
    private readonly server: Server,
    private readonly sockets: Set<Socket>,
  ) {}

  static async start(kind: 'http1' | 'plain'): Promise<Watched> {
    const sockets = new Set<Socket>()
    const server = createServer((socket) => {
      sockets.add(socket)
      let bytes = Buffer.alloc(0)
      socket.on('error', () => socket.destroy())
      socket.on('close', () => sockets.delete(socket))
      socket.on('data', (chunk: Buffer) => {
        bytes = Buffer.concat([bytes, chunk])
        // A request at a time: the router sends the next one after the answer.
        const { requests, end } = readStrictly(bytes)
        if (end === 'refused') watched.malformed.push(bytes.toString('latin1'))
        if (requests.length === 0) return
        bytes = Buffer.alloc(0)
        watched.#seen.push(...requests)
        socket.write(
          `HTTP/1.1 200 OK\r\nContent-Length: ${requests[0]?.method === 'HEAD' ? 0 : 2}\r\n\r\n${requests[0]?.method === 'HEAD' ? '' : 'ok'}`,
        )
      })
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const plane = await startPlane({ plane: kind })
    const watched = new Watched(plane, server, sockets)
    plane.table.change([aRoute('app.test', [anEndpoint({ port: (server.address() as AddressInfo).port })])], [], {
      epoch: '1',
      revision: 1,
    })
    return watched
  }

  /** Sends the pieces over one connection; resolves with the statuses that came back when it has ended. */
  async send(pieces: readonly Buffer[], patienceMs = 150): Promise<{ statuses: number[]; seen: ReadRequest[] }> {
    // Each case comes from an address of its own: what it leads to may reach the endpoint after the next one has begun.
    const number = this.#cases++
    const from = `127.1.${Math.floor(number / 250) % 250}.${1 + (number % 250)}`
    this.#seen.splice(0, Math.max(0, this.#seen.length - MAX_REMEMBERED))
    const text = await exchange(this.plane.port, from, pieces, patienceMs)
    const statuses = [...text.matchAll(/(?:^|\r\n\r\n(?:[^\r]*?))HTTP\/1\.1 (\d{3}) /g)].map((match) => Number(match[1]))
    return { statuses, seen: this.#seen.filter((request) => request.from === from) }
  }

  async close(): Promise<void> {
    await this.plane.close()
    for (const socket of this.sockets) socket.destroy()
    await new Promise((resolve) => this.server.close(resolve))
  }
}

function exchange(port: number, localAddress: string, pieces: readonly Buffer[], patienceMs: number): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1', localAddress, noDelay: true })
    let text = ''
    // What waits for more bytes gets none: both sides give up.
    const timer = setTimeout(() => socket.destroy(), patienceMs)
    socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')))
    socket.on('error', () => socket.destroy())
    socket.on('end', () => socket.destroy())
    socket.on('close', () => {
      clearTimeout(timer)
      resolve(text)
    })
    const next = (i: number): void => {
      const piece = pieces[i]
      if (piece && socket.writable) socket.write(piece, () => setImmediate(() => next(i + 1)))
    }
    socket.once('connect', () => next(0))
  })
}

/** Why a case is a difference; undefined when it is none. */
export function judge(bytes: Buffer, fast: readonly ReadRequest[], plain: readonly ReadRequest[]): string | undefined {
  const strict = readStrictly(bytes).requests.filter(({ host, target }) => host === 'app.test' && target !== '*')
  const texts = (list: readonly ReadRequest[]): string[] =>
    list.map(({ method, target, host, body }) => JSON.stringify({ method, target, host, body }))
  const [ours, theirs, allowed] = [texts(fast), texts(plain), texts(strict)]
  if (ours.some((request, i) => request !== allowed[i]))
    return 'passed on what a strict reader does not read, or in another order'
  // Node's server itself loses its place after some offers to upgrade: then it is no oracle.
  if (theirs.some((request) => !allowed.includes(request))) return undefined
  const [small, large] = ours.length <= theirs.length ? [ours, theirs] : [theirs, ours]
  if (small.some((request) => !large.includes(request))) return 'the planes read differently'
  return undefined
}

/** Runs cases until the time is over or there were enough; the first difference is thrown, with the seed that repeats it. */
export async function fuzz(options: { readonly forMs: number; readonly seed: number; readonly most: number }): Promise<number> {
  const [fast, plain] = await Promise.all([Watched.start('http1'), Watched.start('plain')])
  const until = Date.now() + options.forMs
  let cases = 0
  try {
    while (cases < options.most && Date.now() < until) {
      const dice = new Dice(options.seed + cases)
      const bytes = generateBytes(dice)
      const pieces = cut(dice, bytes)
      const look = async (patienceMs?: number) => {
        const [ours, theirs] = await Promise.all([fast.send(pieces, patienceMs), plain.send(pieces, patienceMs)])
        const malformed =
          fast.malformed.length > 0 ? `malformed towards the endpoint: ${JSON.stringify(fast.malformed)}` : undefined
        return { ours, theirs, difference: judge(bytes, ours.seen, theirs.seen) ?? malformed }
      }
      let { ours, theirs, difference } = await look()
      // On a busy machine one plane may not have come as far as the other: what is a difference is one with more time, too.
      if (difference !== undefined) ({ ours, theirs, difference } = await look(PATIENT_MS))
      if (difference !== undefined)
        throw new Error(
          `seed ${dice.seed}: ${difference}\nbytes ${JSON.stringify(bytes.toString('latin1'))}\nhttp1 ${JSON.stringify(ours)}\nplain ${JSON.stringify(theirs)}`,
        )
      cases++
    }
    return cases
  } finally {
    await Promise.all([fast.close(), plain.close()])
  }
}
