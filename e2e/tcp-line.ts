import { connect as connectTcp, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'

const ANSWER_MS = 10_000

/** A connection to a port of this machine, and what has been heard on it. */
export class TcpLine {
  heard = ''
  readonly #socket: Socket

  /** With a server name by TLS, whose certificate may be anybody's. */
  constructor(port: number, { servername }: { readonly servername?: string } = {}) {
    const options = { port, host: '127.0.0.1' }
    this.#socket =
      servername === undefined ? connectTcp(options) : connectTls({ ...options, servername, rejectUnauthorized: false })
    this.#socket.on('data', (chunk: Buffer) => (this.heard += chunk.toString()))
    this.#socket.on('error', () => this.#socket.destroy())
  }

  say(line: string): void {
    this.#socket.write(`${line}\n`)
  }

  close(): void {
    this.#socket.destroy()
  }

  /** The first line of the answer; '' where the connection is refused or ends without one. */
  static ask(port: number, line: string, options: { readonly servername?: string } = {}): Promise<string> {
    const one = new TcpLine(port, options)
    one.say(line)
    return new Promise((resolve) => {
      const timer = setTimeout(() => one.close(), ANSWER_MS)
      one.#socket.on('data', () => {
        if (one.heard.includes('\n')) one.close()
      })
      one.#socket.once('close', () => {
        clearTimeout(timer)
        const [first = '', rest] = one.heard.split('\n')
        resolve(rest === undefined ? '' : first)
      })
    })
  }
}
