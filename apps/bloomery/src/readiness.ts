import { request } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { LaunchError } from './launch-error.js'
import type { RoleProcess } from './role-process.js'

/** Asks the API through the router, as a client would. */
export function healthz(port: number, host: string): Promise<{ status: number; body: string }> {
  return new Promise((resolve) => {
    const call = request(
      { host, port, path: '/healthz', headers: { host: `localhost:${port}` }, timeout: 5_000, agent: false },
      (response) => {
        let body = ''
        response.on('data', (chunk: Buffer) => (body += chunk.toString()))
        response.on('end', () => resolve({ status: response.statusCode ?? 0, body }))
        response.on('error', () => resolve({ status: 0, body: '' }))
      },
    )
    call.once('error', (error) => resolve({ status: 0, body: error.message }))
    call.once('timeout', () => call.destroy())
    call.end()
  })
}

/** What is not there yet, by the answer of /healthz. */
export function waitingFor(status: number, body: string): string {
  if (status === 0) return 'waiting for the router'
  try {
    const { checks } = JSON.parse(body) as { checks?: Readonly<Record<string, boolean>> }
    const missing = Object.entries(checks ?? {}).flatMap(([name, there]) => (there ? [] : [name]))
    if (missing.length > 0) return `waiting for ${missing.join(', ')}`
  } catch {
    // not the API's own answer
  }
  return 'waiting for the API'
}

/** Waits until a push would work. Gives up when a role says that it cannot run as configured, or after `timeoutMs`. */
export async function untilReady(options: {
  readonly port: number
  readonly host: string
  readonly roles: readonly RoleProcess[]
  readonly timeoutMs: number
  readonly say: (line: string) => void
  readonly signal: AbortSignal
}): Promise<void> {
  let last = ''
  for (const end = Date.now() + options.timeoutMs; Date.now() < end; await delay(150)) {
    options.signal.throwIfAborted()
    for (const role of options.roles) {
      const complaint = role.complaint
      if (complaint !== undefined) throw new LaunchError(`${role.name} cannot run:\n${messages(complaint)}`)
    }
    const { status, body } = await healthz(options.port, options.host)
    if (status === 200) return
    last = waitingFor(status, body)
    options.say(last)
  }
  throw new LaunchError(
    [
      `The platform was not ready within ${options.timeoutMs / 1000} s${last ? `: ${last}` : ''}.`,
      ...options.roles.map((role) => `The end of ${role.logFile}:\n${messages(role.lastWords(5))}`),
    ].join('\n'),
  )
}

/** Roles log JSON lines; people want to read what they say. */
function messages(lines: string): string {
  return lines
    .split('\n')
    .map((line) => {
      try {
        const { msg, err } = JSON.parse(line) as { msg?: string; err?: { message?: string } }
        return [msg, err?.message].filter(Boolean).join(': ') || line
      } catch {
        return line
      }
    })
    .map((line) => `  ${line}`)
    .join('\n')
}
