import type { Availability, BindingUser, Engine, Grant, Instance, Metric, Plan } from '../engine.js'
import { ServiceFault } from '../engine.js'
import { MONGODB } from './plans.js'

/** One kind of server behind the offering; its plans are its own, and all of them have servers of their own. */
export type MongodbKind = Omit<Engine, 'offering' | 'copy' | 'offers' | 'close'>

/**
 * MongoDB where it is to be had, and a development server that is compatible with it. Each plan is of one of them and says of which;
 * those of a kind that is not here are not in the catalog.
 */
export class MongodbEngine implements Engine {
  readonly offering = MONGODB
  readonly plans: readonly Plan[]
  readonly #available = new Set<MongodbKind>()

  /** The best first. */
  constructor(private readonly kinds: readonly MongodbKind[]) {
    this.plans = kinds.flatMap(({ plans }) => plans)
  }

  async probe(): Promise<Availability> {
    const found: Availability[] = []
    for (const kind of this.kinds) {
      const one = await kind.probe()
      if (one.available) this.#available.add(kind)
      found.push(one)
    }
    const from = found.flatMap((one) => (one.available ? [one.from] : []))
    if (from.length > 0) return { available: true, from: from.join(', ') }
    const missing = found.flatMap((one) => (one.available ? [] : [one]))
    return {
      available: false,
      reason: missing.map(({ reason }) => reason).join('; '),
      remedy: missing.map(({ remedy }) => remedy).join('; or, for a development server, '),
    }
  }

  offers(plan: Plan): boolean {
    return this.#available.has(this.#of({ plan }))
  }

  provision(instance: Instance, signal: AbortSignal): Promise<void> {
    return this.#of(instance).provision(instance, signal)
  }

  deprovision(instance: Instance): Promise<void> {
    return this.#of(instance).deprovision(instance)
  }

  bind(instance: Instance, user: BindingUser): Promise<Grant> {
    return this.#of(instance).bind(instance, user)
  }

  unbind(instance: Instance, user: Pick<BindingUser, 'guid' | 'username'>): Promise<void> {
    return this.#of(instance).unbind(instance, user)
  }

  async resize(from: Instance, to: Instance): Promise<void> {
    const kind = this.#of(to)
    if (kind !== this.#of(from))
      throw new ServiceFault(
        `The plans ${from.plan.name} and ${to.plan.name} have servers of different software, between which data are not moved. ` +
          'Create another service instance, and copy the data with mongodump and mongorestore or with an app that is bound to both.',
      )
    await kind.resize(from, to)
  }

  /** All plans have servers of their own, which grow and shrink: nothing is moved. */
  copy(from: Instance, to: Instance): Promise<void> {
    return this.resize(from, to)
  }

  reopen(instance: Instance, users: readonly BindingUser[]): Promise<void> {
    return this.#of(instance).reopen(instance, users)
  }

  size(instance: Instance): Promise<number> {
    return this.#of(instance).size(instance)
  }

  limit(instance: Instance, exceeded: boolean): Promise<void> {
    return this.#of(instance).limit(instance, exceeded)
  }

  backup(instance: Instance, file: string, signal: AbortSignal): Promise<void> {
    return this.#of(instance).backup(instance, file, signal)
  }

  restore(instance: Instance, file: string, signal: AbortSignal): Promise<void> {
    return this.#of(instance).restore(instance, file, signal)
  }

  metrics(instance: Instance): Promise<readonly Metric[]> {
    return this.#of(instance).metrics(instance)
  }

  #of({ plan }: Pick<Instance, 'plan'>): MongodbKind {
    const kind = this.kinds.find(({ plans }) => plans.some(({ id }) => id === plan.id))
    if (!kind) throw new Error(`no kind of server has the plan ${plan.name}`)
    return kind
  }
}
