import { Agent, type AgentOptions, type ClientRequestArgs } from 'node:http'

class KeyedAgent extends Agent {
  override getName(options?: ClientRequestArgs & { readonly poolKey?: string }): string {
    return options?.poolKey ?? super.getName(options)
  }
}

const OPTIONS: AgentOptions = { keepAlive: true, keepAliveMsecs: 30_000, maxFreeSockets: 64, scheduling: 'lifo', timeout: 90_000 }

/** Connections to endpoints. */
export class Connections {
  readonly #pooled = new KeyedAgent(OPTIONS)
  readonly #single = new Agent({ keepAlive: false })

  /**
   * Pooled connections are for requests that may be repeated if the endpoint closes an idle connection at that very moment;
   * others get one of their own, since nobody could say whether they were carried out.
   */
  agentFor(request: { readonly replayable: boolean; readonly fresh: boolean }): Agent {
    return request.replayable && !request.fresh ? this.#pooled : this.#single
  }

  /** Closes what is idle towards a target that is gone. */
  forget(key: string): void {
    for (const socket of this.#pooled.freeSockets[key] ?? []) socket.destroy()
  }

  close(): void {
    this.#pooled.destroy()
    this.#single.destroy()
  }
}
