import * as z from 'zod/mini'
import { ApiError, ClientError } from './errors.js'
import type { Http } from './http.js'

/** Addresses that `GET /` of the API names. */
export const Endpoints = z.object({
  api: z.string(),
  apiVersion: z.string(),
  login: z.string(),
  logCache: z.string(),
})
export type Endpoints = z.infer<typeof Endpoints>

export const Tokens = z.object({
  accessToken: z.string(),
  refreshToken: z.optional(z.string()),
  /** Set for a login with client credentials, whose tokens are renewed by logging in again. */
  client: z.optional(z.object({ id: z.string(), secret: z.string() })),
})
export type Tokens = z.infer<typeof Tokens>

const Root = z.object({
  links: z.object({
    cloud_controller_v3: z.object({ meta: z.object({ version: z.string() }) }),
    login: z.object({ href: z.string() }),
    log_cache: z.object({ href: z.string() }),
  }),
})
const TokenAnswer = z.object({ access_token: z.string(), refresh_token: z.optional(z.string()) })
const UaaError = z.object({ error: z.string(), error_description: z.optional(z.string()) })

/** A token with less to live is renewed before it is used. */
const RENEW_BEFORE_MS = 60_000

/** Reads where everything is from the API's root document. */
export async function discover(http: Http, target: string): Promise<Endpoints> {
  const api = (/^https?:\/\//.test(target) ? target : `https://${target}`).replace(/\/+$/, '')
  const answer = await http.send({ method: 'GET', url: `${api}/`, headers: { accept: 'application/json' } })
  const text = await answer.text()
  const root = answer.status === 200 ? Root.safeParse(parseJson(text)) : undefined
  if (!root?.success) throw new ClientError('unreachable', `${api} answers, but not as a Cloud Foundry API. Check the address.`)
  const { cloud_controller_v3, login, log_cache } = root.data.links
  return { api, apiVersion: cloud_controller_v3.meta.version, login: login.href, logCache: log_cache.href }
}

export type Credentials =
  | { readonly kind: 'password'; readonly username: string; readonly password: string }
  | { readonly kind: 'client'; readonly id: string; readonly secret: string }

/** Asks for tokens. Rejects with `credentials-rejected` when the server knows no such user, client or password. */
export async function requestTokens(http: Http, endpoints: Endpoints, credentials: Credentials): Promise<Tokens> {
  if (credentials.kind === 'password') {
    const { username, password } = credentials
    return grant(http, endpoints, { grant_type: 'password', username, password }, true)
  }
  const { id, secret } = credentials
  const tokens = await grant(http, endpoints, { grant_type: 'client_credentials', client_id: id, client_secret: secret }, false)
  return { accessToken: tokens.accessToken, client: { id, secret } }
}

/** A login that lasts: renews its access token when it has less than a minute to live. */
export class Session {
  private renewing: Promise<Tokens> | undefined

  constructor(
    private readonly http: Http,
    private readonly endpoints: Endpoints,
    private tokens: Tokens,
    /** Told of each new pair, to keep it. */
    private readonly onTokens: (tokens: Tokens) => void = () => undefined,
  ) {}

  async authorization(): Promise<string> {
    if (expiryOf(this.tokens.accessToken) - Date.now() < RENEW_BEFORE_MS) {
      this.renewing ??= this.renew().finally(() => {
        this.renewing = undefined
      })
      await this.renewing
    }
    return `bearer ${this.tokens.accessToken}`
  }

  /** Names whom the token belongs to. */
  get userName(): string {
    const claims = claimsOf(this.tokens.accessToken)
    const name = claims['user_name'] ?? claims['client_id']
    return typeof name === 'string' ? name : 'unknown'
  }

  /** Whom the token belongs to; undefined for clients, which are no users. */
  get userGuid(): string | undefined {
    const guid = claimsOf(this.tokens.accessToken)['user_id']
    return typeof guid === 'string' ? guid : undefined
  }

  private async renew(): Promise<Tokens> {
    const { refreshToken, client } = this.tokens
    if (client) this.tokens = await requestTokens(this.http, this.endpoints, { kind: 'client', ...client })
    else if (refreshToken === undefined) throw new ClientError('not-logged-in', 'The login has expired. Log in again.')
    else {
      const renewed = await grant(
        this.http,
        this.endpoints,
        { grant_type: 'refresh_token', refresh_token: refreshToken },
        true,
      ).catch((error: unknown) => {
        if (error instanceof ClientError && error.kind === 'credentials-rejected')
          throw new ClientError('not-logged-in', 'The login has expired. Log in again.', { cause: error })
        throw error
      })
      this.tokens = { accessToken: renewed.accessToken, refreshToken: renewed.refreshToken ?? refreshToken }
    }
    this.onTokens(this.tokens)
    return this.tokens
  }
}

async function grant(http: Http, endpoints: Endpoints, form: Record<string, string>, asCf: boolean): Promise<Tokens> {
  const answer = await http.send({
    method: 'POST',
    url: `${endpoints.login}/oauth/token`,
    headers: {
      accept: 'application/json',
      'content-type': 'application/x-www-form-urlencoded',
      ...(asCf ? { authorization: `Basic ${Buffer.from('cf:').toString('base64')}` } : {}),
    },
    body: new URLSearchParams(form).toString(),
  })
  const json = parseJson(await answer.text())
  if (answer.status < 300) {
    const tokens = TokenAnswer.safeParse(json)
    if (!tokens.success) throw new ClientError('unreachable', `${endpoints.login} answers, but not as a login server does.`)
    const { access_token, refresh_token } = tokens.data
    return { accessToken: access_token, ...(refresh_token === undefined ? {} : { refreshToken: refresh_token }) }
  }
  const failure = UaaError.safeParse(json)
  const message = failure.success
    ? (failure.data.error_description ?? failure.data.error)
    : `the login server answered ${answer.status}`
  if (answer.status === 401) throw new ClientError('credentials-rejected', message)
  throw new ApiError(answer.status, [], message)
}

function claimsOf(jwt: string): Record<string, unknown> {
  const claims = parseJson(Buffer.from(jwt.split('.')[1] ?? '', 'base64url').toString())
  return typeof claims === 'object' && claims !== null ? (claims as Record<string, unknown>) : {}
}

/** Milliseconds since the epoch; 0 for a token that does not say. */
function expiryOf(jwt: string): number {
  const { exp } = claimsOf(jwt)
  return typeof exp === 'number' ? exp * 1000 : 0
}

/** Undefined for what is no JSON. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return undefined
  }
}
