import { setTimeout as delay } from 'node:timers/promises'
import type { Platform } from '../../e2e/platform.js'

interface Listed {
  readonly guid: string
  readonly last_operation: { readonly type: string; readonly state: string; readonly description: string | null }
}

const LOOK_EVERY_MS = 100

/** The platform's API, as a client sees it. */
export class Cloud {
  private constructor(
    private readonly api: string,
    private readonly token: string,
  ) {}

  static async open(platform: Platform): Promise<Cloud> {
    const root = (await (await fetch(platform.api)).json()) as { links: { login: { href: string } } }
    const answer = await fetch(`${root.links.login.href}/oauth/token`, {
      method: 'POST',
      headers: { authorization: `Basic ${Buffer.from('cf:').toString('base64')}` },
      body: new URLSearchParams({ grant_type: 'password', username: 'admin', password: platform.password }),
    })
    const { access_token: token } = (await answer.json()) as { access_token: string }
    return new Cloud(platform.api, token)
  }

  async call(method: string, path: string, body?: unknown): Promise<Record<string, unknown>> {
    const response = await fetch(`${this.api}${path}`, {
      method,
      headers: { authorization: `bearer ${this.token}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    const text = await response.text()
    if (!response.ok) throw new Error(`${method} ${path} answered ${response.status}: ${text.slice(0, 500)}`)
    return text === '' ? {} : (JSON.parse(text) as Record<string, unknown>)
  }

  async find(path: string): Promise<string> {
    const { resources } = await this.call('GET', path)
    const guid = (resources as { guid: string }[])[0]?.guid
    if (guid === undefined) throw new Error(`${path} lists nothing`)
    return guid
  }

  /** Looks until all have come to an end; fails unless all have succeeded. */
  async settled(path: string, count: number, seconds: number): Promise<Listed[]> {
    for (const end = Date.now() + seconds * 1000; ; await delay(LOOK_EVERY_MS)) {
      const found = (await this.call('GET', `${path}&per_page=5000`))['resources'] as Listed[]
      const failed = found.find(({ last_operation: last }) => last.state === 'failed')
      if (failed) throw new Error(`an operation failed: ${failed.last_operation.description ?? ''}`)
      if (found.length === count && found.every(({ last_operation: last }) => last.state === 'succeeded')) return found
      if (Date.now() > end) {
        const ready = found.filter(({ last_operation: last }) => last.state === 'succeeded').length
        throw new Error(`after ${seconds} s ${ready} of ${count} are ready (${found.length} are listed)`)
      }
    }
  }

  /** Looks until nothing is listed any more; asks again for what could not be deleted. Answers how often that was. */
  async gone(path: string, seconds: number): Promise<number> {
    let repeated = 0
    for (const end = Date.now() + seconds * 1000; ; await delay(LOOK_EVERY_MS)) {
      const left = (await this.call('GET', `${path}&per_page=5000`))['resources'] as Listed[]
      if (left.length === 0) return repeated
      if (Date.now() > end) throw new Error(`after ${seconds} s ${left.length} are still there`)
      const failed = left.filter(({ last_operation: { type, state } }) => type === 'delete' && state === 'failed')
      repeated += failed.length
      await Promise.all(failed.map(({ guid }) => this.call('DELETE', `/v3/service_instances/${guid}`)))
    }
  }
}
