import type { Transaction } from '@bloomery/database'
import type { JobActor } from '../../jobs/jobs.js'
import { BINDING_PARTS } from '../service-credential-bindings/binding-parts.js'
import { removeBinding } from '../service-credential-bindings/delete-binding.js'
import { ROUTE_BINDING_PARTS } from '../service-route-bindings/binding-parts.js'
import { removeRouteBinding } from '../service-route-bindings/delete-route-binding.js'
import { INSTANCE_PARTS } from './find-service-instance.js'
import { recordInstanceEvent } from './instance-events.js'

/** Deletes a user-provided instance with its bindings; one that is gone is no error. */
export async function deleteServiceInstance(tx: Transaction, actor: JobActor, guid: string): Promise<void> {
  await tx.$executeRaw`SELECT 1 FROM service_instances WHERE guid = ${guid} FOR UPDATE`
  const instance = await tx.serviceInstance.findUnique({ where: { guid }, include: INSTANCE_PARTS })
  if (!instance) return
  const bindings = await tx.credentialBinding.findMany({ where: { serviceInstanceGuid: guid }, include: BINDING_PARTS })
  for (const binding of bindings) await removeBinding(tx, actor, binding)
  const routeBindings = await tx.routeBinding.findMany({ where: { serviceInstanceGuid: guid }, include: ROUTE_BINDING_PARTS })
  for (const binding of routeBindings) await removeRouteBinding(tx, actor, binding)
  await tx.serviceInstance.delete({ where: { guid } })
  await recordInstanceEvent(tx, actor, instance, 'delete')
}
