import type { Target } from '../proxy/forwarding.js'
import type { Limits } from '../proxy/limits.js'
import { EndpointChannel, type ChannelOwner } from './endpoint-channel.js'
import { EndpointSocket } from './endpoint-socket.js'
import type { Clock } from './clock.js'

interface Idle {
  readonly channel: EndpointChannel
  readonly until: number
}

/** Connections to endpoints, kept by endpoint between requests; the one used last is used first. */
export class EndpointPool implements ChannelOwner {
  readonly #idle = new Map<string, Idle[]>()
  readonly #all = new Set<EndpointChannel>()

  constructor(
    private readonly clock: Clock,
    private readonly limits: Limits,
  ) {}

  /** A channel to the target; `reuse`: one that has served before will do. */
  acquire(target: Target, reuse: boolean): EndpointChannel {
    if (reuse) {
      const idle = this.#idle.get(target.key)
      for (let last = idle?.pop(); last; last = idle?.pop()) {
        if (!last.channel.isDead && last.until > this.clock.now) return last.channel
        last.channel.destroy()
      }
    }
    const socket = new EndpointSocket({ allowHalfOpen: true })
    const channel = new EndpointChannel(target.key, socket, true, this)
    channel.deadline = this.clock.now + this.limits.dialMs
    this.#all.add(channel)
    socket.connect({ host: target.host, port: target.port, noDelay: true, keepAlive: true, keepAliveInitialDelay: 30_000 })
    return channel
  }

  /** Closes what is idle towards a target that is gone; what is in use is closed after its request. */
  forget(key: string): void {
    const idle = this.#idle.get(key) ?? []
    this.#idle.delete(key)
    for (const { channel } of idle) channel.destroy()
  }

  /** Ends what has waited too long, or been idle. */
  tick(): void {
    const { now } = this.clock
    for (const channel of this.#all) if (channel.deadline < now) channel.expire()
    for (const [key, idle] of this.#idle) {
      const old = idle.filter(({ until }) => until <= now)
      for (const { channel } of old) channel.destroy()
      if (idle.length === 0) this.#idle.delete(key)
    }
  }

  close(): void {
    for (const channel of [...this.#all]) channel.destroy()
    this.#idle.clear()
  }

  onIdle(channel: EndpointChannel, idleMs: number): void {
    const idle = this.#idle.get(channel.key) ?? []
    if (idle.length >= this.limits.maxIdlePerEndpoint || idleMs <= 0) return channel.destroy()
    if (idle.length === 0) this.#idle.set(channel.key, idle)
    idle.push({ channel, until: this.clock.now + Math.min(idleMs, this.limits.endpointIdleMs) })
  }

  onClosed(channel: EndpointChannel): void {
    this.#all.delete(channel)
    const idle = this.#idle.get(channel.key)
    const at = idle?.findIndex((each) => each.channel === channel) ?? -1
    if (at !== -1) idle?.splice(at, 1)
  }
}
