import type { Readable, Writable } from 'node:stream'
import { styleText, stripVTControlCharacters } from 'node:util'

export type Stream = Writable & { readonly isTTY?: boolean; readonly columns?: number }
type Style = Parameters<typeof styleText>[0]

const widthOf = (text: string): number => Array.from(stripVTControlCharacters(text)).length
const pad = (text: string, width: number): string => text + ' '.repeat(Math.max(0, width - widthOf(text)))

/** What a command says and asks. Colours and movement are for terminals alone. */
export class Terminal {
  private readonly coloured: boolean
  private moving = false

  constructor(
    private readonly stdin: Readable & { readonly isTTY?: boolean },
    private readonly stdout: Stream,
    private readonly stderr: Stream,
    env: NodeJS.ProcessEnv,
  ) {
    this.coloured = stdout.isTTY === true && !env['NO_COLOR'] && env['TERM'] !== 'dumb'
  }

  get interactive(): boolean {
    return this.stdin.isTTY === true && this.stdout.isTTY === true
  }

  line(text = ''): void {
    this.raw(`${text}\n`)
  }
  raw(text: string | Uint8Array): void {
    this.endProgress()
    this.stdout.write(text)
  }
  warn(text: string): void {
    this.endProgress()
    this.stderr.write(`${text}\n`)
  }
  ok(): void {
    this.line(this.style('green', 'OK'))
  }
  failed(): void {
    this.line(this.style(['red', 'bold'], 'FAILED'))
  }

  /** Shows how far something is, in a line that the next one takes the place of; nothing where nobody watches. */
  progress(text: string): void {
    if (this.stdout.isTTY !== true) return
    this.moving = true
    this.stdout.write(`\r${text.slice(0, (this.stdout.columns ?? 80) - 1)}\u001b[K`)
  }
  endProgress(): void {
    if (this.moving) this.stdout.write('\r\u001b[K')
    this.moving = false
  }

  style(style: Style, text: string): string {
    return this.coloured ? styleText(style, text, { validateStream: false }) : text
  }
  name(text: string): string {
    return this.style(['cyan', 'bold'], text)
  }

  /** A table with a header; columns as wide as their widest cell, three spaces between. */
  table(header: readonly string[], rows: readonly (readonly string[])[], indent = ''): void {
    const widths = header.map((title, i) => Math.max(widthOf(title), ...rows.map((row) => widthOf(row[i] ?? ''))))
    const format = (row: readonly string[]): string => indent + row.map((cell, i) => pad(cell, widths[i] ?? 0)).join('   ')
    this.line(this.style('bold', format(header).trimEnd()))
    for (const row of rows) this.line(format(row).trimEnd())
  }

  /** Lines of "name:   value". */
  pairs(pairs: readonly (readonly [name: string, value: string])[]): void {
    const width = Math.max(...pairs.map(([name]) => name.length)) + 1
    for (const [name, value] of pairs) this.line(`${pad(`${name}:`, width)}   ${value}`.trimEnd())
  }

  /** Asks a person; without one, says which flag to give. What is secret is not shown. */
  async ask(question: string, flag: string, options: { readonly secret?: boolean } = {}): Promise<string> {
    this.endProgress()
    const { askOnTerminal, nobodyToAsk } = await import('./ask.js')
    if (!this.interactive) throw nobodyToAsk(question, flag)
    return askOnTerminal(this.stdin, this.stdout, `${question}> `, options.secret === true)
  }

  async confirm(question: string, flag: string): Promise<boolean> {
    const answer = await this.ask(`${question} [yN]`, flag)
    return /^y(es)?$/i.test(answer.trim())
  }
}
