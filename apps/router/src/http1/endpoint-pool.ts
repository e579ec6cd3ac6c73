import type { Reuse } from '../failures.js'
import type { Target } from '../proxy/forwarding.js'
import type { Limits } from '../proxy/limits.js'
import { EndpointChannel, type ChannelOwner } from './endpoint-channel.js'
import { EndpointSocket } from './endpoint-socket.js'
import type { Clock } from './clock.js'
import type { TLSSocket } from 'node:tls'
import type { InstanceTls } from '../tls/instance-tls.js'

/** Endpoints keep idle connections for longer than this; those that do not say so, as a rule, by the field Keep-Alive. */
const RECENT_MS = 1_000

interface Idle {
  readonly channel: EndpointChannel
  readonly since: number
  readonly until: number
}

/** Connections to endpoints, kept by endpoint between requests; the one used last is used first. */
export class EndpointPool implements ChannelOwner {
  readonly #idle = new Map<string, Idle[]>()
  readonly #all = new Set<EndpointChannel>()

  constructor(
    private readonly clock: Clock,
    private readonly limits: Limits,
    private readonly instanceTls?: InstanceTls,
  ) {}

  /** A channel to the target, as new as it has to be. */
  acquire(target: Target, reuse: Reuse): EndpointChannel {
    const kept = reuse === 'new' ? undefined : this.#take(target.key, reuse === 'recent')
    if (kept) return kept
    if (target.tls) return this.#add(new EndpointChannel(target.key, this.#secured(target), true, this))
    const socket = new EndpointSocket({ allowHalfOpen: true })
    const channel = this.#add(new EndpointChannel(target.key, socket, true, this))
    socket.connect({ host: target.host, port: target.port, noDelay: true, keepAlive: true, keepAliveInitialDelay: 30_000 })
    return channel
  }

  #take(key: string, recent: boolean): EndpointChannel | undefined {
    const idle = this.#idle.get(key)
    for (let last = idle?.at(-1); idle && last; last = idle.at(-1)) {
      const { now } = this.clock
      // Those below have been idle for longer.
      if (recent && now - last.since > RECENT_MS) return undefined
      idle.pop()
      if (!last.channel.isDead && last.until > now && (!recent || last.channel.isQuiet())) return last.channel
      last.channel.destroy()
    }
    return undefined
  }

  #add(channel: EndpointChannel): EndpointChannel {
    channel.deadline = this.clock.now + this.limits.dialMs
    this.#all.add(channel)
    return channel
  }

  #secured(target: Target): TLSSocket {
    if (!this.instanceTls) throw new Error('instances cannot be dialled by TLS here')
    return this.instanceTls.open(target)
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
    idle.push({ channel, since: this.clock.now, until: this.clock.now + Math.min(idleMs, this.limits.endpointIdleMs) })
  }

  onClosed(channel: EndpointChannel): void {
    this.#all.delete(channel)
    const idle = this.#idle.get(channel.key)
    const at = idle?.findIndex((each) => each.channel === channel) ?? -1
    if (at !== -1) idle?.splice(at, 1)
  }
}
