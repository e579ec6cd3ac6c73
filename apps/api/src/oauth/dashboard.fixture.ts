import { createHash, randomBytes } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** The dashboard of a service broker, reduced to its sign-on: it asks who comes, and what they may do with an instance. */
export class FakeDashboard {
  readonly clientId = `dashboard-${randomBytes(4).toString('hex')}`
  readonly clientSecret = randomBytes(16).toString('hex')
  /** Of the last visitor: what the platform told of them. */
  visitor: { readonly info: unknown; readonly permissions: unknown; readonly idToken: string | undefined } | undefined
  /** The last answer to the exchange of a code. */
  exchanged: { readonly status: number; readonly body: Record<string, unknown> } | undefined
  readonly #verifiers = new Map<string, string>()
  #server: Server | undefined

  constructor(private readonly platform: () => string) {}

  async start(): Promise<void> {
    const server = createServer((request, response) => {
      this.#answer(request, response).catch(() => response.writeHead(500).end())
    })
    this.#server = server
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  }

  stop(): void {
    this.#server?.closeAllConnections()
    this.#server?.close()
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server?.address() as AddressInfo).port}`
  }
  get redirectUri(): string {
    return `${this.url}/manage/auth/cloudfoundry/callback`
  }

  /** Where it sends a browser that it does not know. */
  authorizeUrl(instanceGuid: string, more: Readonly<Record<string, string>> = {}): string {
    const verifier = randomBytes(32).toString('base64url')
    const state = `${instanceGuid}.${randomBytes(8).toString('hex')}`
    this.#verifiers.set(state, verifier)
    const query = new URLSearchParams({
      client_id: this.clientId,
      redirect_uri: this.redirectUri,
      response_type: 'code',
      scope: 'openid cloud_controller_service_permissions.read',
      state,
      nonce: 'n-1',
      code_challenge: createHash('sha256').update(verifier).digest('base64url'),
      code_challenge_method: 'S256',
      ...more,
    })
    return `${this.platform()}/oauth/authorize?${query}`
  }

  /** What a client sends for a code. */
  async exchange(code: string, more: Readonly<Record<string, string>> = {}) {
    const response = await fetch(`${this.platform()}/oauth/token`, {
      method: 'POST',
      headers: { authorization: `Basic ${Buffer.from(`${this.clientId}:${this.clientSecret}`).toString('base64')}` },
      body: new URLSearchParams({ grant_type: 'authorization_code', code, redirect_uri: this.redirectUri, ...more }),
    })
    return { status: response.status, body: (await response.json()) as Record<string, unknown> }
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', this.url)
    const state = url.searchParams.get('state') ?? ''
    const code = url.searchParams.get('code')
    const verifier = this.#verifiers.get(state)
    if (code === null || verifier === undefined) {
      response.writeHead(403).end(url.searchParams.get('error') ?? 'no such visit')
      return
    }
    this.exchanged = await this.exchange(code, { code_verifier: verifier })
    const { access_token: token, id_token: idToken } = this.exchanged.body as { access_token?: string; id_token?: string }
    const ask = async (path: string): Promise<unknown> =>
      (await fetch(`${this.platform()}${path}`, { headers: { authorization: `bearer ${token}` } })).json()
    const [instanceGuid = ''] = state.split('.')
    this.visitor = {
      info: await ask('/userinfo'),
      permissions: await ask(`/v3/service_instances/${instanceGuid}/permissions`),
      idToken,
    }
    response.writeHead(200, { 'content-type': 'text/plain' }).end('welcome')
  }
}

type Init = Omit<RequestInit, 'headers'> & { readonly headers?: Readonly<Record<string, string>> }

/** A browser: cookies, forms, redirects one by one. */
export class Browser {
  readonly #cookies = new Map<string, string>()

  async go(url: string, init: Init = {}): Promise<{ status: number; url: string; html: string; headers: Headers }> {
    const response = await this.hop(url, init)
    const location = response.headers.get('location')
    if (location !== null) return this.go(new URL(location, url).href)
    return { status: response.status, url, html: await response.text(), headers: response.headers }
  }

  /** One request, wherever its answer leads. */
  async hop(url: string, init: Init = {}): Promise<Response> {
    const response = await fetch(url, {
      ...init,
      redirect: 'manual',
      headers: { accept: 'text/html', cookie: [...this.#cookies].map((pair) => pair.join('=')).join('; '), ...init.headers },
    })
    for (const cookie of response.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(cookie) ?? []
      if (name === undefined) continue
      if (value) this.#cookies.set(name, value)
      else this.#cookies.delete(name)
    }
    return response
  }

  /** Sends the form of a page, with what is filled in. */
  submit(
    page: { readonly url: string; readonly html: string },
    filled: Readonly<Record<string, string>>,
    headers: Readonly<Record<string, string>> = {},
  ) {
    const fields = [...page.html.matchAll(/<input type="hidden" name="([^"]*)" value="([^"]*)">/g)].map(
      ([, name = '', value = '']) => [
        name,
        value.replaceAll(/&#(\d+);/g, (_all, digits: string) => String.fromCharCode(Number(digits))),
      ],
    )
    const action = /<form method="post" action="([^"]*)">/.exec(page.html)?.[1] ?? ''
    const body = new URLSearchParams({ ...Object.fromEntries(fields), ...filled })
    return this.go(new URL(action, page.url).href, { method: 'POST', body, headers })
  }
}
