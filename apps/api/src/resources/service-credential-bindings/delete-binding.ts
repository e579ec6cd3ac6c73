import type { CredentialBinding, Space, Transaction } from '@bloomery/database'
import type { JobActor } from '../../jobs/jobs.js'
import { recordBindingEvent } from './binding-events.js'

type BindingOfInstance = CredentialBinding & { serviceInstance: { space: Pick<Space, 'guid' | 'organizationGuid'> } }

/** Removes a binding to a user-provided instance; the app sees it until it is restarted. */
export async function deleteBinding(tx: Transaction, actor: JobActor, binding: BindingOfInstance): Promise<void> {
  const { count } = await tx.credentialBinding.deleteMany({ where: { guid: binding.guid } })
  if (count > 0) await recordBindingEvent(tx, actor, binding, binding.serviceInstance.space, 'delete')
}
