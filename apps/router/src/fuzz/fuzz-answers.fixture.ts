import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { anEndpoint, aRoute } from '../fake-scheduler.fixture.js'
import { startPlane, type TestPlane } from '../proxy/data-plane.fixture.js'
import { generateAnswer } from './generate-answers.fixture.js'
import { cut, Dice } from './generate.fixture.js'
import { readAnswer, type ReadAnswer } from './strict-answers.fixture.js'

const HONEST = 'HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhonest'

/** A data plane with an instance that answers as it is told. */
class Hostile {
  #pieces: readonly Buffer[] = []
  private constructor(
    private readonly plane: TestPlane,
    private readonly server: Server,
    private readonly sockets: Set<Socket>,
  ) {}

  static async start(kind: 'http1' | 'plain'): Promise<Hostile> {
    const sockets = new Set<Socket>()
    const server = createServer({ noDelay: true }, (socket) => {
      sockets.add(socket)
      socket.on('error', () => socket.destroy())
      socket.on('close', () => sockets.delete(socket))
      let text = ''
      socket.on('data', (chunk: Buffer) => {
        text += chunk.toString('latin1')
        if (!text.endsWith('\r\n\r\n')) return
        if (text.includes(' /next ')) socket.write(HONEST)
        else hostile.#say(socket, 0)
        text = ''
      })
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const plane = await startPlane({ plane: kind })
    const hostile = new Hostile(plane, server, sockets)
    plane.table.change([aRoute('app.test', [anEndpoint({ port: (server.address() as AddressInfo).port })])], [], {
      epoch: '1',
      revision: 1,
    })
    return hostile
  }

  #say(socket: Socket, i: number): void {
    const piece = this.#pieces[i]
    if (!piece) return void socket.end()
    if (socket.writable) socket.write(piece, () => setImmediate(() => this.#say(socket, i + 1)))
  }

  /** What a client gets for a request that is answered by these bytes, and a second one right behind it. */
  async ask(method: string, pieces: readonly Buffer[], patienceMs = 1_000): Promise<Buffer> {
    this.#pieces = pieces
    return new Promise((resolve) => {
      const socket = connect({ port: this.plane.port, host: '127.0.0.1', noDelay: true })
      const chunks: Buffer[] = []
      const timer = setTimeout(() => socket.destroy(), patienceMs)
      socket.on('data', (chunk: Buffer) => chunks.push(chunk))
      socket.on('error', () => socket.destroy())
      socket.on('end', () => socket.destroy())
      socket.on('close', () => {
        clearTimeout(timer)
        resolve(Buffer.concat(chunks))
      })
      const second = 'GET /next HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n'
      socket.write(`${method} /case HTTP/1.1\r\nHost: app.test\r\n\r\n${second}`)
    })
  }

  async close(): Promise<void> {
    await this.plane.close()
    for (const socket of this.sockets) socket.destroy()
    await new Promise((resolve) => this.server.close(resolve))
  }
}

/** A reader may take blanks around a chunk's extension; llhttp does not, and what it has passed on by then is cut. */
const BLANK_IN_CHUNK_LINE = /\r\n[0-9a-f]+[ \t]*;?[ \t]/i

/** Why what the client has got is a fault, given what the instance has said; undefined when it is none. */
export function judgeAnswer(said: Buffer, method: string, got: Buffer): string | undefined {
  if (got.length === 0) return undefined
  const meant = readAnswer(said, method)
  const first = readAnswer(got, method)
  if (first.end === 'refused') return 'the router has sent what no strict reader takes'
  if (first.end === 'cut')
    return meant.end === 'whole' && !BLANK_IN_CHUNK_LINE.test(said.toString('latin1')) ? 'a whole answer was cut' : undefined
  const own = first.status === 502 && first.routerError?.startsWith('endpoint_failure') === true
  if (!own && (meant.end !== 'whole' || meant.status !== first.status || meant.body !== first.body))
    return 'the client reads another answer than a strict reader'
  if (first.next === got.length) return undefined
  const second = readAnswer(got, 'GET', first.next)
  if (second.end === 'refused') return 'the second answer is none'
  return second.end === 'whole' && !(second.status === 200 && second.body === 'honest')
    ? 'the second answer is not its own'
    : undefined
}

/** Both planes, where both pass it on, pass on the same. */
function differ(fast: ReadAnswer, plain: ReadAnswer): boolean {
  const passed = (answer: ReadAnswer): boolean => answer.end === 'whole' && answer.routerError === undefined
  return passed(fast) && passed(plain) && (fast.status !== plain.status || fast.body !== plain.body)
}

/**
 * In pieces, but what follows a whole answer comes with its end. What comes later than that is an answer to the next request for all that
 * anybody can tell; it is the instance's own, too.
 */
function cutWithin(dice: Dice, said: Buffer, method: string): Buffer[] {
  const { end, next } = readAnswer(said, method)
  if (end !== 'whole' || next === 0) return cut(dice, said)
  return [...cut(dice, said.subarray(0, next - 1)), said.subarray(next - 1)]
}

/** Runs cases until the time is over or there were enough; the first fault is thrown, with the seed that repeats it. */
export async function fuzzAnswers(options: {
  readonly forMs: number
  readonly seed: number
  readonly most: number
}): Promise<number> {
  const [fast, plain] = await Promise.all([Hostile.start('http1'), Hostile.start('plain')])
  const until = Date.now() + options.forMs
  let cases = 0
  try {
    while (cases < options.most && Date.now() < until) {
      const dice = new Dice(options.seed + cases++)
      const said = generateAnswer(dice)
      const method = dice.chance(10) ? 'HEAD' : 'GET'
      const pieces = cutWithin(dice, said, method)
      const [ours, theirs] = await Promise.all([fast.ask(method, pieces), plain.ask(method, pieces)])
      const fault =
        judgeAnswer(said, method, ours) ??
        (theirs.length > 0 && ours.length > 0 && differ(readAnswer(ours, method), readAnswer(theirs, method))
          ? 'the planes differ'
          : undefined)
      const show = (bytes: Buffer): string => JSON.stringify(bytes.toString('latin1'))
      if (fault !== undefined)
        throw new Error(`seed ${dice.seed}: ${fault}\n${method} said ${show(said)}\nhttp1 ${show(ours)}\nplain ${show(theirs)}`)
    }
    return cases
  } finally {
    await Promise.all([fast.close(), plain.close()])
  }
}
