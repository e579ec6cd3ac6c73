import type { ProgramPaths, RunOptions, Server, ServerCommand, ServerUsage, Software } from './server-host.js'

/** How servers run on this machine: as programs, or in containers. Data lie in `server.folder` either way, owned by `owner`. */
export interface Runtime {
  readonly kind: 'program' | 'container'
  /** What it finds for this software; undefined: nothing. `ready`: nothing has to be fetched for it. */
  find(
    software: Software,
  ): Promise<{ readonly from: string; readonly programs: ProgramPaths; readonly ready: boolean } | undefined>
  /** What a server listens on, given the address at which it is reached. */
  listenAddress(address: string): string
  start(server: Server, software: Software, command: ServerCommand): Promise<void>
  isRunning(server: Server): Promise<boolean>
  /** Ends it and what it left running. */
  stop(server: Server, software: Software): Promise<void>
  run(server: Server, software: Software, program: string, args: readonly string[], options: RunOptions): Promise<string>
  usage(server: Server): Promise<Pick<ServerUsage, 'memoryBytes'> | undefined>
  /** Why it last ended, as far as its log tells. */
  lastWords(server: Server): Promise<string>
}
