import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

type Handler = (request: IncomingMessage, response: ServerResponse, body: Buffer) => void | Promise<void>

/** An API of a test's own: answers what is told, and refuses the rest as CF does. */
export class FakeCloud {
  readonly requests: string[] = []
  tokenSeconds = 3600
  issued = 0
  private readonly handlers = new Map<string, Handler>()
  private server: Server | undefined

  async open(): Promise<void> {
    this.server = createServer((request, response) => {
      this.answer(request, response).catch((error: unknown) => response.destroy(error as Error))
    })
    await new Promise<void>((resolve) => this.server?.listen(0, '127.0.0.1', resolve))
    this.on('GET /', (_request, response) =>
      json(response, 200, {
        links: {
          cloud_controller_v3: { href: `${this.url}/v3`, meta: { version: '3.215.0' } },
          login: { href: this.url },
          log_cache: { href: this.url },
        },
      }),
    )
    this.on('POST /oauth/token', (request, response, body) => {
      const form = new URLSearchParams(body.toString())
      const refused = form.get('password') === 'wrong' || form.get('refresh_token') === 'expired'
      if (refused) return json(response, 401, { error: 'unauthorized', error_description: 'Bad credentials' })
      this.issued++
      return json(response, 200, { access_token: this.token(), refresh_token: `refresh-${this.issued}`, token_type: 'bearer' })
    })
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server?.address() as AddressInfo).port}`
  }

  /** `METHOD /path`, without the query. */
  on(route: string, handler: Handler): void {
    this.handlers.set(route, handler)
  }

  token(): string {
    const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
    const claims = {
      exp: Math.floor(Date.now() / 1000) + this.tokenSeconds,
      user_name: 'admin',
      user_id: 'admin-guid',
      jti: String(this.issued),
    }
    return `${part({ alg: 'HS256' })}.${part(claims)}.c2ln`
  }

  async close(): Promise<void> {
    this.server?.closeAllConnections()
    await new Promise<void>((resolve) => (this.server ? this.server.close(() => resolve()) : resolve()))
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname, search } = new URL(request.url ?? '/', this.url)
    const route = `${request.method ?? ''} ${pathname}`
    this.requests.push(route + search)
    const handler = this.handlers.get(route)
    if (!handler) return json(response, 404, { errors: [{ code: 10000, title: 'CF-NotFound', detail: 'Unknown request' }] })
    const streamed = request.headers['content-type']?.startsWith('multipart/') === true
    const chunks: Buffer[] = []
    if (!streamed) for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk)
    await handler(request, response, Buffer.concat(chunks))
  }
}

export function json(response: ServerResponse, status: number, body: unknown, headers: Record<string, string> = {}): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body))
}
