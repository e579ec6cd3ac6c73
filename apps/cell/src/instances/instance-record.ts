import type { InstanceEndpoint, RunSpec, SeenInstance } from '@bloomery/contracts'

/** What the agent remembers of one instance, also over its own restarts. No environment and no command: both may hold credentials. */
export interface InstanceRecord {
  readonly instanceGuid: string
  readonly index: number
  readonly spec: RunSpec
  readonly dropletSha256: string
  state: SeenInstance['state']
  /** When it entered that state, RFC 3339. */
  since: string
  routable: boolean
  /** When its container was started; the startup check counts from here. */
  startedAt?: string
  endpoint?: InstanceEndpoint
  crashReason?: string
  exitStatus?: number
  platformFault?: boolean
  restartedLocally?: boolean
  /** Crashes of this index in a row that the agent itself answered, while the scheduler was out of reach. */
  localCrashes?: number
  /** The instance whose place it took in such a restart, by the name that the scheduler knows. */
  replaces?: string
  /** The start of the machine in which it ran: what a reboot ended did not crash. */
  bootId: string
}

/** The record as the scheduler sees it. */
export const seenOf = (record: InstanceRecord): SeenInstance => ({
  instanceGuid: record.instanceGuid,
  processGuid: record.spec.processGuid,
  specVersion: record.spec.version,
  index: record.index,
  appGuid: record.spec.appGuid,
  processType: record.spec.processType,
  specGuid: record.spec.guid,
  state: record.state,
  since: record.since,
  routable: record.routable,
  memoryMb: record.spec.memoryMb,
  diskMb: record.spec.diskMb,
  ...(record.endpoint === undefined ? {} : { endpoint: record.endpoint }),
  ...(record.crashReason === undefined ? {} : { crashReason: record.crashReason }),
  ...(record.exitStatus === undefined ? {} : { exitStatus: record.exitStatus }),
  ...(record.platformFault === undefined ? {} : { platformFault: record.platformFault }),
  ...(record.restartedLocally === undefined ? {} : { restartedLocally: record.restartedLocally }),
})

/** As it may lie on disk. */
export const withoutSecrets = (record: InstanceRecord): InstanceRecord => ({ ...record, spec: { ...record.spec, command: null } })
