import { randomUUID } from 'node:crypto'
import type { Prisma, Transaction } from '@bloomery/database'
import type { JobActor } from '../jobs/jobs.js'

export interface AuditTarget {
  readonly type: string
  readonly guid: string
  readonly name: string
}

/** Who did it: whoever asked, or a service broker by its catalog. */
export interface AuditActor {
  readonly guid: string
  readonly name: string
  readonly kind: JobActor['kind'] | 'service_broker'
}

/** Writes an audit event in the transaction of the change it tells of. Never put a secret into `data`. */
export async function recordAudit(
  tx: Transaction,
  actor: AuditActor,
  event: {
    type: string
    target: AuditTarget
    spaceGuid?: string | null
    organizationGuid?: string | null
    data?: Prisma.InputJsonObject
  },
): Promise<void> {
  await tx.auditEvent.create({
    data: {
      guid: randomUUID(),
      type: event.type,
      actorGuid: actor.guid,
      actorType: actor.kind,
      actorName: actor.name,
      targetGuid: event.target.guid,
      targetType: event.target.type,
      targetName: event.target.name,
      spaceGuid: event.spaceGuid ?? null,
      organizationGuid: event.organizationGuid ?? null,
      data: event.data ?? {},
    },
  })
}
