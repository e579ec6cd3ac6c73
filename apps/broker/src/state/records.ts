/** An instance as the broker keeps it. */
export interface InstanceRecord {
  readonly guid: string
  readonly serviceId: string
  readonly planId: string
  readonly organizationGuid: string
  readonly spaceGuid: string
  readonly context: Readonly<Record<string, unknown>> | null
  readonly parameters: Readonly<Record<string, unknown>>
  readonly state: 'provisioning' | 'ready' | 'failed' | 'deleting'
  /** Cron expression of scheduled backups, UTC. */
  readonly schedule: string | null
  readonly keepBackups: number
  readonly nextBackupAt: Date | null
  /** The data are over the plan's limit, and writing is stopped. */
  readonly exceeded: boolean
}

/** What the platform asked for with a binding: compared when it asks again. */
export interface BindingRequest {
  readonly serviceId: string
  readonly planId: string
  readonly appGuid: string | null
  readonly bindResource: Readonly<Record<string, unknown>>
  readonly parameters: Readonly<Record<string, unknown>>
}

export interface BindingRecord {
  readonly guid: string
  readonly instanceGuid: string
  readonly request: BindingRequest
  readonly username: string
  /** Encrypted. */
  readonly password: unknown
  /** Credentials and endpoints, encrypted; null until it is made. */
  readonly answer: unknown
  readonly state: 'binding' | 'ready' | 'failed' | 'unbinding'
}

export const INSTANCE_KINDS = ['provision', 'deprovision', 'update', 'backup', 'restore'] as const
export type OperationKind = (typeof INSTANCE_KINDS)[number] | 'bind' | 'unbind'

export interface OperationRecord {
  readonly id: string
  readonly instanceGuid: string
  readonly bindingGuid: string | null
  readonly kind: OperationKind
  readonly request: Readonly<Record<string, unknown>>
  /** How far it is, where steps must not be repeated. */
  readonly stage: string
  readonly state: 'in progress' | 'succeeded' | 'failed'
  readonly description: string | null
  /** A later request has made it pointless; it ends as soon as it can. */
  readonly cancelled: boolean
}

export interface BackupRecord {
  readonly id: string
  readonly instanceGuid: string
  readonly state: 'making' | 'made' | 'failed'
  readonly scheduled: boolean
  readonly bytes: bigint | null
  readonly planId: string
  readonly createdAt: Date
}
