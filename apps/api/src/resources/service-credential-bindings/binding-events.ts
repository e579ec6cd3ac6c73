import type { Transaction } from '@bloomery/database'
import { recordAudit } from '../../http/audit.js'
import type { JobActor } from '../../jobs/jobs.js'
import type { ToldBinding } from '../../service-operations/operated.js'

/** An audit event about a binding, in the transaction of the change it tells of. */
export const recordBindingEvent = (
  tx: Transaction,
  actor: JobActor,
  binding: ToldBinding['binding'],
  space: ToldBinding['space'],
  act: 'create' | 'start_create' | 'update' | 'delete' | 'start_delete',
  byManifest?: true,
): Promise<void> => {
  const type = binding.type === 'key' ? 'service_key' : 'service_binding'
  return recordAudit(tx, actor, {
    type: `audit.${type}.${act}`,
    target: { type, guid: binding.guid, name: binding.name ?? '' },
    spaceGuid: space.guid,
    organizationGuid: space.organizationGuid,
    data: {
      ...(byManifest ? { manifest_triggered: true } : {}),
      request: {
        type: binding.type,
        ...(binding.name === null ? {} : { name: binding.name }),
        relationships: {
          service_instance: { data: { guid: binding.serviceInstanceGuid } },
          ...(binding.appGuid === null ? {} : { app: { data: { guid: binding.appGuid } } }),
        },
      },
    },
  })
}
