import { readFile, writeFile } from 'node:fs/promises'
import { resolve } from 'node:path'
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

/** Prints the answer whatever its status; the exit code is 22 for a failure with -f. */
export async function curl(context: Context, path: string, flags: CurlFlags): Promise<number> {
  const { client, terminal, cwd } = context
  const method = (flags.request ?? (flags.data === undefined ? 'GET' : 'POST')).toUpperCase()
  if (!METHODS.includes(method))
    throw new ClientError('bad-argument', `'${method}' is no method; use one of ${METHODS.join(', ')}.`)
  const data = flags.data?.startsWith('@') ? await readFile(resolve(cwd, flags.data.slice(1)), 'utf8') : flags.data
  const answer = await client.send(method as Method, path, {
    headers: { 'content-type': 'application/json', ...parseHeaders(flags.header ?? []) },
    ...(data === undefined ? {} : { body: data }),
  })
  const body = await answer.text()
  if (flags.fail && answer.status >= 400) {
    terminal.warn(`The requested URL returned error: ${answer.status}`)
    return 22
  }
  if (flags.include) {
    terminal.line(`HTTP/1.1 ${answer.status}`)
    for (const [name, value] of Object.entries(answer.headers)) {
      for (const each of typeof value === 'string' ? [value] : (value ?? [])) terminal.line(`${name}: ${each}`)
    }
    terminal.line()
  }
  if (flags.output === undefined) terminal.line(body)
  else await writeFile(resolve(cwd, flags.output), body)
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
