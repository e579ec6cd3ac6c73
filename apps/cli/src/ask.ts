import { createInterface } from 'node:readline'
import { type Readable, Writable } from 'node:stream'
import { ClientError } from '@bloomery/client'
import { Interrupted } from './interrupted.js'

/** Reads a line from a terminal, with or without showing it. Rejects with Interrupted at Ctrl-C and Ctrl-D. */
export function askOnTerminal(stdin: Readable, stdout: Writable, question: string, secret: boolean): Promise<string> {
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() })
  const lines = createInterface({ input: stdin, output: secret ? nowhere : stdout, terminal: true, historySize: 0 })
  return new Promise((resolve, reject) => {
    let settled = false
    const end = (settle: () => void): void => {
      if (settled) return
      settled = true
      lines.close()
      if (secret) stdout.write('\n')
      settle()
    }
    lines.once('line', (answer) => end(() => resolve(answer)))
    lines.once('SIGINT', () => end(() => reject(new Interrupted())))
    lines.once('close', () => end(() => reject(new Interrupted())))
    if (secret) stdout.write(question)
    else {
      lines.setPrompt(question)
      lines.prompt()
    }
  })
}

export const nobodyToAsk = (question: string, flag: string): ClientError =>
  new ClientError('bad-argument', `${question.replace(/ \[yN\]$/, '')}: there is no terminal to ask on; answer with ${flag}.`)
