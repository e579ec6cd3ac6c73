import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ScriptedBroker } from '@bloomery/osb/scripted-broker'
import { ask, REPOSITORY, startPlatform, type Answer, type Platform } from '../platform.js'
import { read } from './reads.js'

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
    /** Its name in shapes.json. */
    readonly shape?: string
    readonly state?: string
    /** What the client prints of it or decides by; address in the document → value. */
    readonly read?: Record<string, unknown>
    readonly warnings?: string
  }
}
/** How the service broker behaves from a command on. */
type BrokerSettings = Partial<Pick<ScriptedBroker, 'catalog' | 'asyncPolls' | 'asyncEnd'>>
type Shape = string | readonly Shape[] | { readonly [key: string]: Shape }

const FOLDER = join(REPOSITORY, 'e2e/cf-contract/exchanges')
const PATIENCE_MS = 120_000

/** A file per command: a line that names it, and a line per exchange. */
const commands = (existsSync(FOLDER) ? readdirSync(FOLDER) : [])
  .filter((name) => name.endsWith('.jsonl'))
  .sort()
  .map((name) => {
    const [head, ...exchanges] = readFileSync(join(FOLDER, name), 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as unknown)
    const { command, broker = {} } = head as { command: string[]; broker?: BrokerSettings }
    return [`${name.slice(0, 3)} ${command.join(' ')}`, exchanges as Exchange[], broker] as const
  })
const shapes = (commands.length > 0 ? JSON.parse(readFileSync(join(FOLDER, 'shapes.json'), 'utf8')) : {}) as Record<string, Shape>
if (commands.length === 0)
  process.stderr.write('LEFT OUT: nothing is recorded of the real cf client; record.mjs does that on a machine that has one.\n')

const describeIfRecorded = commands.length > 0 ? describe : describe.skip

describeIfRecorded('what the real cf client sends, replayed', () => {
  let platform: Platform
  let broker: ScriptedBroker
  const known = new Map<string, string>()
  let token = ''
  let refreshToken = ''
  beforeAll(async () => {
    broker = await ScriptedBroker.start()
    platform = await startPlatform({
      engine: 'docker',
      // As where it was recorded; a space's broker may be on this machine.
      env: { BLOOMERY_BROKER: 'off', BLOOMERY_BROKER_POLL_SECONDS: '1', BLOOMERY_TENANT_ADDRESSES: '127.0.0.0/8' },
    })
  })
  afterAll(async () => {
    await platform?.stop()
    await broker?.stop()
  })

  const fill = (text: string): string =>
    text
      .replaceAll('{{password}}', encodeURIComponent(platform.password))
      .replaceAll('{{refresh_token}}', encodeURIComponent(refreshToken))
      .replaceAll('{{refresh_jti}}', String(claimsOf(refreshToken)['jti']))
      .replaceAll('{{access_jti}}', String(claimsOf(token)['jti']))
      .replaceAll('{{broker}}', broker.url)
      .replaceAll(/\{\{(?:guid|port|host)\d+\}\}/g, (name) => known.get(name) ?? name)

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

  /** As the client does before each request; how long the replay takes is not what the recording took. */
  const renewToken = async (): Promise<void> => {
    if (refreshToken === '' || Number(claimsOf(token)['exp']) * 1000 - Date.now() > 60_000) return
    const answer = await ask(platform.httpPort, `localhost:${platform.httpPort}`, '/oauth/token', {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded', authorization: 'Basic Y2Y6' },
      body: `grant_type=refresh_token&refresh_token=${encodeURIComponent(refreshToken)}`,
    })
    keepTokens(JSON.parse(answer.body))
  }
  const keepTokens = (json: unknown): void => {
    const tokens = json as { access_token: string; refresh_token?: string }
    token = tokens.access_token
    refreshToken = tokens.refresh_token ?? refreshToken
  }

  /** As the client does: asks again until it sees what the recorded one was content with. */
  const sendUntilAsRecorded = async (exchange: Exchange): Promise<Answer> => {
    const { state, status } = exchange.answer
    const polled = exchange.method === 'GET' && isSettled(state)
    for (const end = Date.now() + PATIENCE_MS; ;) {
      const answer = await send(exchange)
      if (!polled || answer.status !== status || stateOf(answer) === state || Date.now() > end) return answer
      // What fails will not succeed by waiting.
      if (stateOf(answer) === 'FAILED') return answer
      await new Promise((wait) => setTimeout(wait, 100))
    }
  }

  /** Remembers what later requests refer to. */
  const learn = (exchange: Exchange, answer: Answer, json: unknown): void => {
    for (const [pointer, name] of Object.entries(exchange.answer.captures ?? {})) {
      const value = at(json, pointer)
      if (typeof value === 'string' || typeof value === 'number') known.set(name, String(value))
    }
    for (const name of Object.values(exchange.answer.locationCaptures ?? {}))
      known.set(name, answer.headers.location?.split('/').pop() ?? '')
    if (exchange.path.startsWith('/oauth/token') && exchange.method === 'POST' && answer.status === 200) keepTokens(json)
  }

  it.each(commands)('%s', async (_line, exchanges, settings) => {
    Object.assign(broker, settings)
    for (const [i, exchange] of exchanges.entries()) {
      await renewToken()
      const about = `${i + 1}: ${exchange.method} ${exchange.path}`
      const answer = await sendUntilAsRecorded(exchange)
      const { status, job } = exchange.answer
      const state = isSettled(exchange.answer.state) ? exchange.answer.state : stateOf(answer)
      const shape = shapes[exchange.answer.shape ?? '']
      const body = answer.status === status && stateOf(answer) === state ? '' : answer.body
      const isJob = answer.headers.location?.includes('/v3/jobs/') ?? false
      expect({ about, status: answer.status, job: isJob, state: stateOf(answer), body }).toEqual({
        about,
        status,
        job,
        state,
        body: '',
      })
      const json: unknown = shape === undefined ? undefined : JSON.parse(answer.body)
      learn(exchange, answer, json)
      if (shape !== undefined) expect({ about, missing: missing(shape, json) }).toEqual({ about, missing: [] })
      const { read: then = {}, warnings } = exchange.answer
      const toldWarnings = answer.headers['x-cf-warnings']
      expect({ about, ...pick(read(json), then), warnings: toldWarnings && decodeURIComponent(String(toldWarnings)) }).toEqual({
        about,
        ...(JSON.parse(fill(JSON.stringify(then))) as Record<string, unknown>),
        warnings: warnings && fill(warnings),
      })
    }
  })
})

/** Of what is read now, what was read then. */
const pick = (now: Record<string, unknown>, then: Record<string, unknown>): Record<string, unknown> =>
  Object.fromEntries(Object.keys(then).map((address) => [address, now[address]]))
const stateOf = (answer: Answer): string | undefined => {
  try {
    const json = JSON.parse(answer.body) as { state?: string; status?: { value?: string }; resources?: { state?: string }[] }
    return json.state ?? json.status?.value ?? json.resources?.[0]?.state
  } catch {
    return undefined
  }
}
/** What passes by itself may have passed already, or not have come yet. */
const isSettled = (state: string | undefined): boolean =>
  state !== undefined && !['STARTING', 'DOWN', 'STOPPING', 'STAGING', 'PROCESSING', 'PROCESSING_UPLOAD'].includes(state)

const claimsOf = (jwt: string): Record<string, unknown> => {
  try {
    return JSON.parse(Buffer.from(jwt.split('.')[1] ?? '', 'base64url').toString()) as Record<string, unknown>
  } catch {
    return {}
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
