import { writeFileSync } from 'node:fs'
import { z } from 'zod'
import { type BindingUser, type Engine, type Grant, type Instance, type Offering, type Plan } from '../engines/engine.js'

type Method = 'provision' | 'deprovision' | 'bind' | 'unbind' | 'resize' | 'copy' | 'backup' | 'restore'

/** An engine without servers, whose every step can be held up or made to fail, and which remembers what it has. */
export class ScriptedEngine implements Engine {
  readonly offering: Offering = {
    id: 'scripted-service',
    name: 'redis',
    displayName: 'Scripted',
    description: 'For tests',
    tags: [],
    parameters: {
      create: z.strictObject({ colour: z.enum(['red', 'green']).optional() }),
      update: z.strictObject({ colour: z.enum(['red', 'green']).optional() }),
      bind: z.strictObject({ role: z.enum(['reader', 'writer']).optional() }),
    },
  }
  readonly plans: readonly Plan[] = [planOf('shared', 100), planOf('dedicated', 200)]
  readonly instances = new Set<string>()
  readonly users = new Map<string, string>()
  readonly calls: string[] = []
  bytes = 0
  readonly limited: boolean[] = []
  readonly #gates = new Map<Method, Promise<void>>()
  readonly #failures = new Map<Method, Error>()

  /** The next calls of this method wait until the answer is called. */
  hold(method: Method): () => void {
    let release = (): void => undefined
    this.#gates.set(method, new Promise((resolve) => (release = resolve)))
    return () => {
      this.#gates.delete(method)
      release()
    }
  }

  /** The next call of this method fails so. */
  failNext(method: Method, error: Error): void {
    this.#failures.set(method, error)
  }

  async #step(method: Method, instance: Pick<Instance, 'guid' | 'plan'>): Promise<void> {
    this.calls.push(`${method} ${instance.plan.name}`)
    await this.#gates.get(method)
    const failure = this.#failures.get(method)
    this.#failures.delete(method)
    if (failure) throw failure
  }

  probe() {
    return Promise.resolve({ available: true, from: 'a script' } as const)
  }
  async provision(instance: Instance): Promise<void> {
    this.instances.add(placeOf(instance))
    await this.#step('provision', instance)
  }
  async deprovision(instance: Instance): Promise<void> {
    await this.#step('deprovision', instance)
    this.instances.delete(placeOf(instance))
  }
  async bind(instance: Instance, user: BindingUser): Promise<Grant> {
    await this.#step('bind', instance)
    this.users.set(`${placeOf(instance)}/${user.username}`, user.password)
    return {
      credentials: { username: user.username, password: user.password, plan: instance.plan.name },
      endpoints: [{ host: '192.0.2.1', ports: ['1'] }],
    }
  }
  async unbind(instance: Instance, user: Pick<BindingUser, 'username'>): Promise<void> {
    await this.#step('unbind', instance)
    this.users.delete(`${placeOf(instance)}/${user.username}`)
  }
  resize(_from: Instance, to: Instance): Promise<void> {
    return this.#step('resize', to)
  }
  async copy(from: Instance, to: Instance): Promise<void> {
    this.instances.add(placeOf(to))
    await this.#step('copy', from)
  }
  reopen(): Promise<void> {
    this.calls.push('reopen')
    return Promise.resolve()
  }
  size(): Promise<number> {
    return Promise.resolve(this.bytes)
  }
  limit(_instance: Instance, exceeded: boolean): Promise<void> {
    this.limited.push(exceeded)
    return Promise.resolve()
  }
  async backup(instance: Instance, file: string): Promise<void> {
    await this.#step('backup', instance)
    writeFileSync(file, 'data')
  }
  restore(instance: Instance): Promise<void> {
    return this.#step('restore', instance)
  }
  metrics() {
    return Promise.resolve([{ name: 'bloomery_service_data_bytes', help: 'Bytes.', value: this.bytes }])
  }
}

const placeOf = ({ guid, plan }: Pick<Instance, 'guid' | 'plan'>): string => `${plan.style}/${guid}`

const planOf = (style: Plan['style'], diskMb: number): Plan => ({
  id: `scripted-${style}`,
  name: style,
  description: style,
  style,
  memoryMb: 64,
  diskMb,
  connections: 5,
  bullets: [],
})
