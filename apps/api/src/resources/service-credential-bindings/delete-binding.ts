import type { Transaction } from '@bloomery/database'
import type { Context } from '../../http/context.js'
import { unprocessable } from '../../http/errors.js'
import { CfError } from '@bloomery/contracts'
import type { JobActor } from '../../jobs/jobs.js'
import { isManaged } from '../../service-bindings/bound-instance.js'
import { requireIdle } from '../../service-operations/accept-operation.js'
import { recordBindingEvent } from './binding-events.js'
import { spaceOfBinding, type BindingParts } from './binding-parts.js'

interface DeletedBinding {
  /** Whether it is gone; else its broker is asked, once the transaction has committed and `operations.kick()` was called. */
  readonly isGone: boolean
  readonly jobGuid: string | undefined
}

/**
 * Removes a binding; what runs keeps it until its next start. `as`: asked for by itself, with a job of its own, or as part of the
 * deletion of something else, which waits for what is under way.
 */
export async function deleteBinding(
  tx: Transaction,
  { operations }: Pick<Context, 'operations'>,
  actor: JobActor,
  binding: BindingParts,
  as: 'itself' | 'part' = 'itself',
): Promise<DeletedBinding> {
  const { serviceInstance: instance } = binding
  if (!isManaged(instance)) {
    await removeBinding(tx, actor, binding)
    return { isGone: true, jobGuid: undefined }
  }
  await tx.$executeRaw`SELECT 1 FROM service_instances WHERE guid = ${instance.guid} FOR NO KEY UPDATE`
  if (as === 'itself') await requireIdle(tx, instance, 'unbind')
  const making = await tx.serviceOperation.findFirst({
    where: { resourceType: 'credential_binding', resourceGuid: binding.guid, type: 'create' },
  })
  // While the broker works on it, it can be told to stop; a request whose answer is not known yet is waited for.
  if (making?.phase === 'polling')
    await operations.cancel(
      tx,
      { resourceType: 'credential_binding', resourceGuid: binding.guid, type: 'create' },
      new CfError('UnableToPerform', 'bind could not be completed: the binding was deleted meanwhile'),
    )
  else if (making && as === 'itself') throw unprocessable('There is an operation in progress for the service binding.')
  const { jobGuid } = await operations.enqueue(tx, {
    resourceType: 'credential_binding',
    resourceGuid: binding.guid,
    serviceInstanceGuid: instance.guid,
    type: 'delete',
    brokerGuid: instance.plan.offering.brokerGuid,
    params: {},
    actor,
    ...(as === 'itself' ? { job: { operation: 'service_bindings.delete', resourceType: 'service_credential_bindings' } } : {}),
  })
  return { isGone: false, jobGuid }
}

/** Removes a binding that no broker knows of. */
export async function removeBinding(tx: Transaction, actor: JobActor, binding: BindingParts): Promise<void> {
  const { count } = await tx.credentialBinding.deleteMany({ where: { guid: binding.guid } })
  if (count > 0) await recordBindingEvent(tx, actor, binding, spaceOfBinding(binding), 'delete')
}
