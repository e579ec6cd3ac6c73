import { createInterface } from 'node:readline/promises'
import type { Readable, Writable } from 'node:stream'
import { styleText } from 'node:util'
import { ClientError } from '@bloomery/client'

export type Stream = Writable & { readonly isTTY?: boolean }
type Style = Parameters<typeof styleText>[0]

/** What a command says and asks. Colours and movement are for terminals alone. */
export class Terminal {
  private readonly coloured: boolean

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
    this.stdout.write(`${text}\n`)
  }
  raw(text: string): void {
    this.stdout.write(text)
  }
  warn(text: string): void {
    this.stderr.write(`${text}\n`)
  }
  ok(): void {
    this.line(this.style('green', 'OK'))
  }

  style(style: Style, text: string): string {
    return this.coloured ? styleText(style, text, { validateStream: false }) : text
  }
  name(text: string): string {
    return this.style(['cyan', 'bold'], text)
  }

  /** A table with a header; columns as wide as their widest cell. */
  table(header: readonly string[], rows: readonly (readonly string[])[], indent = ''): void {
    const widths = header.map((title, i) => Math.max(title.length, ...rows.map((row) => (row[i] ?? '').length)))
    const format = (row: readonly string[]): string =>
      indent + row.map((cell, i) => (i === row.length - 1 ? cell : cell.padEnd(widths[i] ?? 0))).join('   ')
    this.line(this.style('bold', format(header).trimEnd()))
    for (const row of rows) this.line(format(row).trimEnd())
  }

  /** Lines of "name:   value". */
  pairs(pairs: readonly (readonly [name: string, value: string])[]): void {
    const width = Math.max(...pairs.map(([name]) => name.length)) + 1
    for (const [name, value] of pairs) this.line(`${`${name}:`.padEnd(width)}   ${value}`.trimEnd())
  }

  /** Asks a person; without one, says which flag to give. */
  async ask(question: string, flag: string, options: { readonly secret?: boolean } = {}): Promise<string> {
    if (!this.interactive) throw new ClientError('bad-argument', `${question} is needed; give it with ${flag}.`)
    const output = options.secret ? silent(this.stdout, `${question}> `) : this.stdout
    const lines = createInterface({ input: this.stdin, output, terminal: true })
    try {
      const answer = await lines.question(`${question}> `)
      if (options.secret) this.line()
      return answer
    } finally {
      lines.close()
    }
  }

  /** Yes or no; no without a person to ask. */
  async confirm(question: string, flag: string): Promise<boolean> {
    const answer = await this.ask(`${question} [yN]`, flag)
    return /^y(es)?$/i.test(answer.trim())
  }
}

/** Shows the question and nothing of what is typed. */
function silent(stdout: Stream, question: string): Writable {
  let asked = false
  return Object.assign(Object.create(stdout) as Writable, {
    write: (chunk: string | Uint8Array): boolean => {
      if (asked || !String(chunk).includes(question)) return true
      asked = true
      return stdout.write(question)
    },
  })
}
