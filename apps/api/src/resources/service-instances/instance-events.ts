import type { Prisma, Transaction } from '@bloomery/database'
import { recordAudit } from '../../http/audit.js'
import type { JobActor } from '../../jobs/jobs.js'
import type { ToldInstance } from '../../service-operations/operated.js'

type Act = 'create' | 'start_create' | 'update' | 'start_update' | 'delete' | 'start_delete' | 'purge' | 'share' | 'unshare'

/** An audit event about a service instance, in the transaction of the change it tells of. */
export const recordInstanceEvent = (
  tx: Transaction,
  actor: JobActor,
  instance: ToldInstance,
  act: Act,
  request: Prisma.InputJsonObject = {},
): Promise<void> => recordInstanceData(tx, actor, instance, act, { request })

/** The same with data of its own kind. */
export const recordInstanceData = (
  tx: Transaction,
  actor: JobActor,
  instance: ToldInstance,
  act: Act,
  data: Prisma.InputJsonObject,
): Promise<void> => {
  const type = instance.type === 'managed' ? 'service_instance' : 'user_provided_service_instance'
  return recordAudit(tx, actor, {
    type: `audit.${type}.${act}`,
    target: { type, guid: instance.guid, name: instance.name },
    spaceGuid: instance.spaceGuid,
    organizationGuid: instance.space.organizationGuid,
    data,
  })
}

/** What an event tells of a request: parameters may hold anything. */
export const auditParameters = (request: Readonly<Record<string, unknown>>): Prisma.InputJsonObject => ({
  ...request,
  ...(request['parameters'] == null ? {} : { parameters: '[PRIVATE DATA HIDDEN]' }),
})
