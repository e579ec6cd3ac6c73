import { createWriteStream } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { ClientError, type Method } from '@bloomery/client'
import type { Context } from '../context.js'

export interface CurlFlags {
  readonly request?: string
  readonly data?: string
  readonly header?: readonly string[]
  readonly include?: boolean
  readonly fail?: boolean
  readonly output?: string
}

const METHODS: readonly string[] = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'] satisfies Method[]
/** As curl ends with --fail. */
const REFUSED = 22

/** Prints the answer whatever its status; the exit code is 22 for a failure with -f. */
export async function curl({ client, terminal, surroundings }: Context, path: string, flags: CurlFlags): Promise<number> {
  const { cwd } = surroundings
  const method = (flags.request ?? (flags.data === undefined ? 'GET' : 'POST')).toUpperCase()
  if (!METHODS.includes(method))
    throw new ClientError('bad-argument', `'${method}' is no method; use one of ${METHODS.join(', ')}.`)
  const data = flags.data?.startsWith('@') ? await readFile(resolve(cwd, flags.data.slice(1)), 'utf8') : flags.data
  const answer = await client.send(method as Method, path, {
    headers: { 'content-type': 'application/json', ...parseHeaders(flags.header ?? []) },
    ...(data === undefined ? {} : { body: data }),
  })
  if (flags.fail && answer.status >= 400) {
    await answer.text()
    terminal.warn(`The requested URL returned error: ${answer.status}`)
    return REFUSED
  }
  if (flags.include) {
    terminal.line(`HTTP/1.1 ${answer.status}`)
    for (const [name, value] of Object.entries(answer.headers)) {
      for (const each of typeof value === 'string' ? [value] : (value ?? [])) terminal.line(`${name}: ${each}`)
    }
    terminal.line()
  }
  if (flags.output === undefined) terminal.line(await answer.text())
  else await pipeline(answer.body, createWriteStream(resolve(cwd, flags.output)))
  return 0
}

function parseHeaders(texts: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    texts.map((text) => {
      const at = text.indexOf(':')
      if (at < 1) throw new ClientError('bad-argument', `-H takes 'Name: value', not '${text}'.`)
      return [text.slice(0, at).trim().toLowerCase(), text.slice(at + 1).trim()]
    }),
  )
}
