import type { Transaction } from '@bloomery/database'
import { recordAudit } from '../../http/audit.js'
import type { JobActor } from '../../jobs/jobs.js'
import type { RouteBindingParts } from './binding-parts.js'

/** An audit event about a route binding, in the transaction of the change it tells of. */
export const recordRouteBindingEvent = (
  tx: Transaction,
  actor: JobActor,
  binding: Pick<RouteBindingParts, 'guid' | 'routeGuid' | 'serviceInstanceGuid' | 'route'>,
  act: 'create' | 'start_create' | 'update' | 'delete' | 'start_delete',
): Promise<void> =>
  recordAudit(tx, actor, {
    type: `audit.service_route_binding.${act}`,
    target: { type: 'service_route_binding', guid: binding.guid, name: '' },
    spaceGuid: binding.route.spaceGuid,
    organizationGuid: binding.route.space.organizationGuid,
    data: {
      request: {
        relationships: {
          route: { data: { guid: binding.routeGuid } },
          service_instance: { data: { guid: binding.serviceInstanceGuid } },
        },
      },
    },
  })
