import { CfError } from '@bloomery/contracts'
import type { Transaction } from '@bloomery/database'
import type { Context } from '../../http/context.js'
import type { JobActor } from '../../jobs/jobs.js'
import { BINDING_PARTS } from '../service-credential-bindings/binding-parts.js'
import { removeBinding } from '../service-credential-bindings/delete-binding.js'
import { INSTANCE_PARTS } from './find-service-instance.js'
import { recordInstanceEvent } from './instance-events.js'

/** Forgets an instance with all that hangs on it, and asks no broker: for those that are gone for good. */
export async function purgeServiceInstance(
  tx: Transaction,
  { operations, nudges }: Pick<Context, 'operations' | 'nudges'>,
  actor: JobActor,
  guid: string,
): Promise<void> {
  await tx.$executeRaw`SELECT 1 FROM service_instances WHERE guid = ${guid} FOR UPDATE`
  const instance = await tx.serviceInstance.findUnique({ where: { guid }, include: INSTANCE_PARTS })
  if (!instance) return
  const purged = new CfError('UnableToPerform', `The service instance ${instance.name} was purged.`)
  await operations.cancelAll(tx, guid, purged)
  const bindings = await tx.credentialBinding.findMany({ where: { serviceInstanceGuid: guid }, include: BINDING_PARTS })
  for (const binding of bindings) await removeBinding(tx, actor, binding)
  await tx.routeBinding.deleteMany({ where: { serviceInstanceGuid: guid } })
  await tx.serviceInstance.delete({ where: { guid } })
  await recordInstanceEvent(tx, actor, instance, 'purge')
  nudges.send({ topic: 'scheduler' })
}
