import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ask, REPOSITORY, startPlatform, type Answer, type Platform } from '../platform.js'

/** What record.mjs keeps of one request of the real client, and of the answer that it was content with. */
interface Exchange {
  readonly method: string
  readonly path: string
  readonly headers: Record<string, string>
  readonly authorization: 'bearer' | 'basic' | null
  readonly body?: { readonly text?: string; readonly base64?: string }
  readonly answer: {
    readonly status: number
    readonly job: boolean
    readonly captures?: Record<string, string>
    readonly locationCaptures?: Record<string, string>
    readonly shape?: Shape
    readonly state?: string
  }
}
type Shape = string | readonly Shape[] | { readonly [key: string]: Shape }

const FOLDER = join(REPOSITORY, 'e2e/cf-contract/exchanges')
const commands = readdirSync(FOLDER)
  .filter((name) => name.endsWith('.json'))
  .sort()
  .map((name) => JSON.parse(readFileSync(join(FOLDER, name), 'utf8')) as { command: string[]; exchanges: Exchange[] })

describe('what the real cf client sends, replayed', () => {
  let platform: Platform
  const known = new Map<string, string>()
  let token = ''
  let refreshToken = ''
  beforeAll(async () => {
    platform = await startPlatform({ engine: 'docker' })
  })
  afterAll(async () => platform?.stop())

  const fill = (text: string): string =>
    text
      .replaceAll('{{password}}', encodeURIComponent(platform.password))
      .replaceAll('{{refresh_token}}', encodeURIComponent(refreshToken))
      .replaceAll(/\{\{guid\d+\}\}/g, (name) => known.get(name) ?? name)

  const send = (exchange: Exchange): Promise<Answer> =>
    ask(platform.httpPort, `localhost:${platform.httpPort}`, fill(exchange.path), {
      method: exchange.method,
      timeoutMs: 60_000,
      headers: {
        ...exchange.headers,
        ...(exchange.authorization === 'bearer' ? { authorization: `bearer ${token}` } : {}),
        ...(exchange.authorization === 'basic' ? { authorization: 'Basic Y2Y6' } : {}),
      },
      ...(exchange.body?.base64
        ? { body: Buffer.from(exchange.body.base64, 'base64') }
        : exchange.body?.text
          ? { body: fill(exchange.body.text) }
          : {}),
    })

  it.each(commands.map(({ command, exchanges }) => [command.join(' '), exchanges] as const))('%s', async (_line, exchanges) => {
    for (const exchange of exchanges) {
      const about = `${exchange.method} ${exchange.path}`
      let answer = await send(exchange)
      const polled = exchange.method === 'GET' && exchange.answer.state !== undefined
      for (const end = Date.now() + 60_000; polled && Date.now() < end && stateOf(answer) !== exchange.answer.state;)
        answer = await send(exchange)
      expect({ about, status: answer.status, body: answer.status === exchange.answer.status ? '' : answer.body }).toEqual({
        about,
        status: exchange.answer.status,
        body: '',
      })
      expect({ about, job: answer.headers.location?.includes('/v3/jobs/') ?? false }).toEqual({ about, job: exchange.answer.job })
      const json: unknown = exchange.answer.shape === undefined ? undefined : JSON.parse(answer.body)
      for (const [pointer, name] of Object.entries(exchange.answer.captures ?? {})) {
        const value = at(json, pointer)
        if (typeof value === 'string') known.set(name, value)
      }
      for (const name of Object.values(exchange.answer.locationCaptures ?? {}))
        known.set(name, answer.headers.location?.split('/').pop() ?? '')
      if (exchange.path.startsWith('/oauth/token') && answer.status === 200) {
        const tokens = json as { access_token: string; refresh_token?: string }
        token = tokens.access_token
        refreshToken = tokens.refresh_token ?? refreshToken
      }
      if (exchange.answer.shape !== undefined)
        expect({ about, missing: missing(exchange.answer.shape, json) }).toEqual({ about, missing: [] })
    }
  })
})

const stateOf = (answer: Answer): string | undefined => {
  try {
    const json = JSON.parse(answer.body) as { state?: string; status?: { value?: string }; resources?: { state?: string }[] }
    return json.state ?? json.status?.value ?? json.resources?.[0]?.state
  } catch {
    return undefined
  }
}
const at = (value: unknown, pointer: string): unknown =>
  pointer
    .split('/')
    .slice(1)
    .reduce<unknown>(
      (here, key) => (here && typeof here === 'object' ? (here as Record<string, unknown>)[key] : undefined),
      value,
    )

/** Addresses at which the answer lacks a key that the client was given, or has another kind of value there. null fits anything. */
function missing(expected: Shape, value: unknown, pointer = ''): string[] {
  if (typeof expected === 'string')
    return expected === 'null' || value === null || typeof value === expected
      ? []
      : [`${pointer}: ${typeof value}, not ${expected}`]
  if (value === null) return []
  if (Array.isArray(expected)) {
    const [first] = expected as readonly Shape[]
    if (!Array.isArray(value)) return [`${pointer}: no list`]
    return first === undefined || value.length === 0 ? [] : missing(first, value[0], `${pointer}/0`)
  }
  if (typeof value !== 'object' || value === undefined) return [`${pointer}: no object`]
  return Object.entries(expected).flatMap(([key, shape]) => {
    // Values of free maps (labels, variables, included of a page) come and go.
    const present = (value as Record<string, unknown>)[key]
    return present === undefined ? [`${pointer}/${key}: missing`] : missing(shape, present, `${pointer}/${key}`)
  })
}
