import type { Prisma, ServiceInstance, Transaction } from '@bloomery/database'
import { recordAudit } from '../../http/audit.js'
import type { JobActor } from '../../jobs/jobs.js'

/** An audit event about a service instance, in the transaction of the change it tells of. */
export const recordInstanceEvent = (
  tx: Transaction,
  actor: JobActor,
  instance: Pick<ServiceInstance, 'guid' | 'name' | 'type' | 'spaceGuid'> & { space: { organizationGuid: string } },
  act: 'create' | 'update' | 'delete',
  request: Prisma.InputJsonObject = {},
): Promise<void> => {
  const type = instance.type === 'managed' ? 'service_instance' : 'user_provided_service_instance'
  return recordAudit(tx, actor, {
    type: `audit.${type}.${act}`,
    target: { type, guid: instance.guid, name: instance.name },
    spaceGuid: instance.spaceGuid,
    organizationGuid: instance.space.organizationGuid,
    data: { request },
  })
}
