import { CfError } from '@bloomery/contracts'
import type { ManifestService } from '@bloomery/domain'
import type { Transaction } from '@bloomery/database'
import { unprocessable } from '../../http/errors.js'
import type { JobActor } from '../../jobs/jobs.js'
import type { AppInSpace } from '../apps/find-app.js'
import { createAppBinding } from '../service-credential-bindings/create-binding.js'

/** Binds the services that a manifest names and the app has not yet. What runs sees them after its next start. */
export async function applyServices(
  tx: Transaction,
  actor: JobActor,
  app: AppInSpace,
  services: readonly ManifestService[],
): Promise<void> {
  for (const wish of services) {
    const instance = await tx.serviceInstance.findUnique({
      where: { spaceGuid_name: { spaceGuid: app.spaceGuid, name: wish.name } },
    })
    if (!instance) throw unprocessable(`For service '${wish.name}': Service instance '${wish.name}' not found`)
    if ((await tx.credentialBinding.count({ where: { appGuid: app.guid, serviceInstanceGuid: instance.guid, type: 'app' } })) > 0)
      continue
    if (instance.type !== 'user-provided')
      throw unprocessable(`For service '${wish.name}': only user-provided service instances can be bound by this platform`)
    if (wish.parameters && Object.keys(wish.parameters).length > 0)
      throw unprocessable(`For service '${wish.name}': Binding parameters are not supported for user-provided service instances`)
    try {
      await createAppBinding(tx, actor, {
        appGuid: app.guid,
        serviceInstanceGuid: instance.guid,
        name: wish.bindingName,
        byManifest: true,
      })
    } catch (error) {
      throw error instanceof CfError ? unprocessable(`For service '${wish.name}': ${error.message}`) : error
    }
  }
}
