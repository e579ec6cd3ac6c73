import type { z } from 'zod'

/** The five offerings, by the names that users type. */
export const OFFERINGS = ['mysql', 'postgresql', 'mongodb', 'redis', 'rabbitmq'] as const
export type OfferingName = (typeof OFFERINGS)[number]

/** What an instance gets. */
export interface Plan {
  /** For ever the same: the platform knows a plan by nothing else. */
  readonly id: string
  readonly name: string
  readonly description: string
  /** `shared`: a part of a common server; `dedicated`: a server of its own. */
  readonly style: 'shared' | 'dedicated'
  /** Limit of the instance's own server; of a shared one the limit of the whole server. */
  readonly memoryMb: number
  /** What the instance's data may take. */
  readonly diskMb: number
  /** Connections at a time, of all bindings together (dedicated) or of each (shared). */
  readonly connections: number
  /** Lines for people, in marketplaces. */
  readonly bullets: readonly string[]
}

/** What the catalog says of an offering besides its plans. */
export interface Offering {
  readonly id: string
  readonly name: OfferingName
  readonly description: string
  readonly displayName: string
  readonly tags: readonly string[]
  readonly documentationUrl?: string
  /** Parameters that the engine itself understands, for create and update; those of backups are added to every offering's. */
  readonly parameters: { readonly create: z.ZodObject; readonly update: z.ZodObject; readonly bind: z.ZodObject }
}

/** An instance as an engine needs to know it; names of databases, users and servers are derived from the guid. */
export interface Instance {
  readonly guid: string
  readonly plan: Plan
  readonly parameters: Readonly<Record<string, unknown>>
}

/** Who logs in: made once per binding and kept before any server hears of it, so that a repeated call gives the same. */
export interface BindingUser {
  readonly guid: string
  readonly username: string
  readonly password: string
  readonly parameters: Readonly<Record<string, unknown>>
}

/** What a binding tells the app. */
export interface Grant {
  readonly credentials: Readonly<Record<string, unknown>>
  readonly endpoints: readonly { readonly host: string; readonly ports: readonly string[] }[]
}

/** One figure of an instance. */
export interface Metric {
  /** `bloomery_service_…`: a name of Prometheus's kind. */
  readonly name: string
  readonly help: string
  readonly value: number
}

export type Availability =
  | { readonly available: true; readonly from: string }
  /** `remedy`: what an operator does to get it. */
  | { readonly available: false; readonly reason: string; readonly remedy: string }

/**
 * A kind of server that instances are made on. Every method may be called again after a crash at any line, and twice: it brings about
 * the state that it is named for, whatever is there already. Failures that the user can understand are thrown as
 * {@link ServiceFault}; anything else is told as an internal error.
 */
export interface Engine {
  readonly offering: Offering
  readonly plans: readonly Plan[]
  /** Whether the software is here. Asked at start, and again now and then while it is not. */
  probe(): Promise<Availability>
  /** Whether a plan is in the catalog, where that differs among them; known once `probe` has been asked. */
  offers?(plan: Plan): boolean
  /** Makes the instance's part of the common server, or its own server; resolves when it can be bound. */
  provision(instance: Instance, signal: AbortSignal): Promise<void>
  /** Takes it away with all its data; an instance that was never there, or only half, is fine. */
  deprovision(instance: Instance): Promise<void>
  /** Lets the user in and tells how. */
  bind(instance: Instance, user: BindingUser): Promise<Grant>
  /** Shuts the user out and ends its sessions; a user that was never there is fine. */
  unbind(instance: Instance, user: Pick<BindingUser, 'guid' | 'username'>): Promise<void>
  /** Applies limits and parameters of `to` where the data stay where they are (the plan's style is the same). */
  resize(from: Instance, to: Instance): Promise<void>
  /**
   * Copies the data from where `from`'s plan keeps them to where `to`'s will, another server; whatever is at `to` from an interrupted
   * attempt is replaced. Nobody may write to `from` any more once it has begun. Users are made anew by `bind` afterwards, and `from` is
   * removed by `deprovision` when the change is recorded. When it fails, `reopen` is called with `from`.
   */
  copy(from: Instance, to: Instance, signal: AbortSignal): Promise<void>
  /** Lets writers in again after a `copy` that failed or was given up. */
  reopen(instance: Instance, users: readonly BindingUser[]): Promise<void>
  /** Bytes that the data take, for limits and before moving to a smaller plan. */
  size(instance: Instance): Promise<number>
  /** Gives back the room of what was deleted, where the instance's users cannot; called now and then while it is over its limit. */
  reclaim?(instance: Instance): Promise<void>
  /** Called now and then with what `size` said: stops or allows growth. Reading and deleting go on. */
  limit(instance: Instance, exceeded: boolean): Promise<void>
  /** Writes a backup to the file. */
  backup(instance: Instance, file: string, signal: AbortSignal): Promise<void>
  /** Replaces the data by those of the file. Sessions end; users stay. */
  restore(instance: Instance, file: string, signal: AbortSignal): Promise<void>
  metrics(instance: Instance): Promise<readonly Metric[]>
  /** Lets go of connections; servers run on. */
  close?(): Promise<void>
}

/** Why a request cannot be done, in words for the user: what, why, what to do. */
export class ServiceFault extends Error {
  override readonly name = 'ServiceFault'
}
