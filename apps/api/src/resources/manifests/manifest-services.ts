import { randomUUID } from 'node:crypto'
import type { ManifestService } from '@bloomery/domain'
import type { Transaction } from '@bloomery/database'
import { recordAudit } from '../../http/audit.js'
import { unprocessable } from '../../http/errors.js'
import type { JobActor } from '../../jobs/jobs.js'
import type { AppInSpace } from '../apps/find-app.js'

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
    const taken =
      wish.bindingName !== undefined &&
      (await tx.credentialBinding.count({ where: { appGuid: app.guid, name: wish.bindingName } })) > 0
    if (taken)
      throw unprocessable(
        `For service '${wish.name}': The binding name is invalid. App binding names must be unique. The app already has a binding with name '${wish.bindingName ?? ''}'.`,
      )
    const guid = randomUUID()
    await tx.credentialBinding.create({
      data: { guid, type: 'app', name: wish.bindingName ?? null, serviceInstanceGuid: instance.guid, appGuid: app.guid },
    })
    await recordAudit(tx, actor, {
      type: 'audit.service_binding.create',
      target: { type: 'service_binding', guid, name: wish.bindingName ?? '' },
      spaceGuid: app.spaceGuid,
      organizationGuid: app.space.organizationGuid,
      data: {
        manifest_triggered: true,
        request: {
          type: 'app',
          relationships: { app: { data: { guid: app.guid } }, service_instance: { data: { guid: instance.guid } } },
        },
      },
    })
  }
}
