import type { InstanceEndpoint } from '@bloomery/contracts'
import type { ActualInstance } from '@bloomery/domain'

/** A row of actual_instances. */
export interface InstanceRow extends ActualInstance {
  readonly appGuid: string
  readonly processType: string
  readonly endpoint: InstanceEndpoint | null
  readonly crashReason: string | null
  readonly unroutedAt: bigint | null
  readonly leaseToken: bigint
  readonly memoryMb: number
  readonly diskMb: number
}

/** What shall run, with what placement and the row need to know of it. */
export interface DesiredRow {
  readonly guid: string
  readonly appGuid: string
  readonly type: string
  readonly specGuid: string
  readonly specVersion: number
  readonly instances: number
  readonly memoryMb: number
  readonly diskMb: number
  readonly stack: string
}

export interface CellRow {
  readonly id: string
  readonly epoch: string
  readonly zone: string
  readonly stacks: readonly string[]
  readonly memoryMb: number
  readonly diskMb: number
  readonly maxInstances: number
  readonly draining: boolean
  readonly lastSeenAt: Date
}

/** Memory and disk that a running build takes, and who runs it. */
export interface StagingReservation {
  readonly claimedBy: string
  readonly memoryMb: number
  readonly diskMb: number
}
