import type { Pool } from '@bloomery/database/sql'
import type { Logger } from '@bloomery/telemetry'
import type { Engine } from '../engines/engine.js'
import type { Intake } from '../operations/intake.js'
import type { OperationLog } from '../operations/operation-log.js'
import type { Vault } from '../state/vault.js'
import type { Account } from './guard.js'

/** What the routes need. */
export interface AppParts {
  readonly pool: Pool
  /** All there are; those that are here now are asked for with each catalog. */
  readonly engines: readonly Engine[]
  readonly available: () => readonly Engine[]
  readonly account: Account
  readonly intake: Intake
  readonly operations: OperationLog
  readonly vault: Vault
  /** Called after an operation was written down. */
  readonly nudge: () => void
  /** How long an answer may wait for an operation to end before it says 202. */
  readonly patienceMs: number
  readonly metrics: () => Promise<string>
  readonly log: Logger
}
