import { Agent, request } from 'node:https'
import { type NodeRole, serverNameOf } from '@bloomery/contracts'
import type { IdentitySource } from './mutual-tls.js'

const TIMEOUT_MS = 15_000

/**
 * Posts JSON to a role's internal listener over one kept connection, on Node's own client: it is in every process anyway, while
 * undici costs each router worker nine megabytes.
 */
export class InternalCaller {
  readonly #agent: Agent
  constructor(
    private readonly url: string,
    role: NodeRole,
    identity: IdentitySource,
  ) {
    const { certificatePem: cert, privateKeyPem: key, authorityPem: ca } = typeof identity === 'function' ? identity() : identity
    this.#agent = new Agent({ keepAlive: true, maxSockets: 2, cert, key, ca, servername: serverNameOf(role), timeout: 30_000 })
  }

  /** Rejects when there is no answer within 15 s; an answer of any status is the caller's to judge. */
  post(path: string, body: Buffer): Promise<{ status: number; text: string }> {
    return new Promise((resolve, reject) => {
      const headers = { 'content-type': 'application/json', 'content-length': body.length }
      const call = request(new URL(path, this.url), { method: 'POST', agent: this.#agent, headers }, (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.once('error', reject)
        response.once('end', () => resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString('utf8') }))
      })
      call.setTimeout(TIMEOUT_MS, () => call.destroy(new Error(`${this.url} did not answer in time`)))
      call.once('error', reject)
      call.end(body)
    })
  }

  destroy(): void {
    this.#agent.destroy()
  }
}
