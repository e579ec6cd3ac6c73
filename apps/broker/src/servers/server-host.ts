import type { Availability } from '../engines/engine.js'

/** Programs of one software on this machine: name → absolute path. */
export type ProgramPaths = Readonly<Record<string, string>>

/** An image, and what the programs are called in it. */
export interface ServerImage {
  readonly name: string
  readonly programs: ProgramPaths
}

/** A kind of database server, and how one is set up and started. The host decides whether as a program or in a container. */
export interface Software {
  /** Part of the server's row for ever, e.g. `postgresql`. */
  readonly kind: string
  /** Names of its listeners; each gets a port of its own, the same over restarts. The first is the one that apps use. */
  readonly ports: readonly string[]
  /** The listeners that instances may reach; the others are for this machine alone. */
  readonly publicPorts: readonly string[]
  /** Official image that has the programs. Undefined: there is none. */
  readonly image: ServerImage | undefined
  /** The programs where they are installed on this machine (or in a package of ours); undefined if one that is needed is not there. */
  locate(): ProgramPaths | undefined
  /** What to install where neither is to be had. */
  readonly remedy: string
  /**
   * Makes the data folder ready if it is not, writes configuration, and says what to start. Called at every start; may be interrupted at
   * any line and called again. The command line must hold `place.folder`, by which the process is known again.
   */
  prepare(place: ServerPlace): Promise<ServerCommand>
  /** Throws or answers false while it does not serve yet. */
  isReady(server: Server): Promise<boolean>
  /** What ends it, in turn, with the time each is given; data must be safe after the first. */
  readonly stopSignals: readonly (readonly [signal: NodeJS.Signals, patienceMs: number])[]
  /** How long it may take to serve. @default 60000 */
  readonly startTimeoutMs?: number
}

export interface ServerCommand {
  readonly command: string
  readonly args: readonly string[]
  /** All of it but PATH. */
  readonly env?: Readonly<Record<string, string>>
}

/** Where a server lives and what it may take. */
export interface ServerPlace extends Server {
  /** To listen on; in a container this is not the address that clients dial. */
  readonly listen: string
  /** The path of a program that `locate` told, or of the image. */
  program(name: string): string
  /** Runs a program (by that name) to its end as the server's user in its folder; the error carries what it printed. */
  run(program: string, args: readonly string[], options?: RunOptions): Promise<string>
  /** Makes a folder below `folder`, the server user's own. Answers its path. */
  makeFolder(name: string): string
  /** Writes a file below `folder`, readable by the server's user alone, whole or not at all. Answers its path. */
  write(name: string, text: string): string
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>
  readonly input?: string
  readonly signal?: AbortSignal
  readonly timeoutMs?: number
}

/** A server that was found or started. */
export interface Server {
  readonly name: string
  /** Its folder on this machine; what engines keep in it goes with the server. */
  readonly folder: string
  /** Address at which the broker and instances reach it. */
  readonly host: string
  readonly ports: Readonly<Record<string, number>>
  /** Password of its administrator, made once. */
  readonly secret: string
  readonly memoryMb: number
  readonly diskMb: number
}

export interface ServerUsage {
  readonly running: boolean
  readonly memoryBytes: number
  readonly diskBytes: number
}

export interface ServerSpec {
  /** Unique in this installation: letters, digits, hyphens. */
  readonly name: string
  readonly kind: string
  readonly memoryMb: number
  readonly diskMb: number
}

/** Starts database servers, finds them again, keeps them running and takes them away. All calls are idempotent by name. */
export interface ServerHost {
  /** Whether servers of this kind can be had here, and from where. */
  probe(kind: string): Promise<Availability>
  /**
   * Finds or starts the server; resolves once it serves. One whose limits differ from the spec's is started anew with those. Throws
   * ServiceFault where the machine has no room for it.
   */
  ensure(spec: ServerSpec): Promise<Server>
  /** The server if it was ever made and not removed; it need not run. */
  find(name: string): Promise<Server | undefined>
  /** Stops it and deletes its data; one that never was is fine. */
  remove(name: string): Promise<void>
  usage(name: string): Promise<ServerUsage>
  /** Runs a client program, e.g. a dump, beside the server (as its user, in its container's image). */
  run(name: string, program: string, args: readonly string[], options?: RunOptions): Promise<string>
}
