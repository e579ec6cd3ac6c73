import type { ContainerEngine, ContainerSpec } from '@bloomery/containers'
import type { BuildLimits } from './limits.js'
import type { StagingLog } from './staging-log.js'
import type { Workspace } from './workspace.js'

/** A container to be run to its end, and what it may use. */
export interface RunOptions {
  readonly engine: ContainerEngine
  readonly spec: ContainerSpec
  readonly workspace: Workspace
  /** Folders that it may write, besides what the engine gives it. */
  readonly written: readonly string[]
  readonly log: StagingLog
  readonly timeoutMs: number
  readonly limits: BuildLimits
  /** Ends the container at once. */
  readonly signal: AbortSignal
}
