import { Agent, type AgentOptions, type ClientRequestArgs } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Reuse } from '../failures.js'
import type { Target } from '../proxy/forwarding.js'
import type { InstanceTls } from '../tls/instance-tls.js'

/** What a request carries for its connection: the pool's key, and where it leads if that is dialled by TLS. */
interface Dialled extends ClientRequestArgs {
  readonly poolKey?: string
  readonly securedTarget?: Target
}

/** Endpoints keep idle connections for longer than this. */
const RECENT_MS = 1_000

class KeyedAgent extends Agent {
  constructor(
    options: AgentOptions,
    private readonly instanceTls: InstanceTls | undefined,
  ) {
    super(options)
  }
  override getName(options?: Dialled): string {
    return options?.poolKey ?? super.getName(options)
  }
  override createConnection(
    options: Dialled,
    callback?: (error: Error | null, stream: Duplex) => void,
  ): Duplex | null | undefined {
    if (options.securedTarget && this.instanceTls) return this.instanceTls.open(options.securedTarget)
    return super.createConnection(options, callback)
  }
}

const OPTIONS: AgentOptions = { keepAlive: true, keepAliveMsecs: 30_000, maxFreeSockets: 64, scheduling: 'lifo', timeout: 90_000 }

/** Connections to endpoints. */
export class Connections {
  readonly #pooled: Agent
  readonly #recent: Agent
  readonly #single: Agent

  constructor(instanceTls?: InstanceTls) {
    this.#pooled = new KeyedAgent(OPTIONS, instanceTls)
    this.#recent = new KeyedAgent({ ...OPTIONS, timeout: RECENT_MS }, instanceTls)
    this.#single = new KeyedAgent({ keepAlive: false }, instanceTls)
  }

  /**
   * Requests that may not be repeated if the endpoint closes an idle connection at that very moment go out on such as were
   * used a moment ago.
   */
  agentFor(reuse: Reuse): Agent {
    return { any: this.#pooled, recent: this.#recent, new: this.#single }[reuse]
  }

  /** Closes what is idle towards a target that is gone. */
  forget(key: string): void {
    for (const agent of [this.#pooled, this.#recent]) for (const socket of agent.freeSockets[key] ?? []) socket.destroy()
  }

  close(): void {
    this.#pooled.destroy()
    this.#recent.destroy()
    this.#single.destroy()
  }
}
