import type { Server } from '../../servers/server-host.js'

/** The administrator of every server. */
export const ADMIN = 'bloomery'
const TIMEOUT_MS = 60_000

/** A call that RabbitMQ refused. */
export class ManagementError extends Error {
  override readonly name = 'ManagementError'
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message)
  }
}

/** RabbitMQ's management API, as its administrator. */
export class Management {
  readonly #base: string
  readonly #authorization: string

  constructor({ host, ports, secret }: Server) {
    this.#base = `http://${host}:${ports['management']}/api`
    this.#authorization = `Basic ${Buffer.from(`${ADMIN}:${secret}`).toString('base64')}`
  }

  get<T>(path: string): Promise<T> {
    return this.#call('GET', path) as Promise<T>
  }
  async put(path: string, body: unknown): Promise<void> {
    await this.#call('PUT', path, body)
  }
  post<T>(path: string, body: unknown): Promise<T> {
    return this.#call('POST', path, body) as Promise<T>
  }
  /** What is not there is fine. */
  async delete(path: string): Promise<void> {
    await this.#call('DELETE', path).catch((error: unknown) => {
      if (!isNotFound(error)) throw error
    })
  }

  async #call(method: string, path: string, body?: unknown): Promise<unknown> {
    const response = await fetch(`${this.#base}${path}`, {
      method,
      headers: { authorization: this.#authorization, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(TIMEOUT_MS),
    })
    const text = await response.text()
    if (!response.ok) throw new ManagementError(response.status, `${method} ${path}: ${response.status} ${text.slice(0, 500)}`)
    return text === '' ? undefined : JSON.parse(text)
  }
}

export const isNotFound = (error: unknown): boolean => error instanceof ManagementError && error.status === 404
