import { CfError } from '@bloomery/contracts'
import type { ManifestService } from '@bloomery/domain'
import type { Transaction } from '@bloomery/database'
import type { Context } from '../../http/context.js'
import { unprocessable } from '../../http/errors.js'
import type { JobActor } from '../../jobs/jobs.js'
import { isCreating, isFailedCreate } from '../../service-bindings/bound-instance.js'
import type { AppInSpace } from '../apps/find-app.js'
import { createAppBinding } from '../service-credential-bindings/create-binding.js'

/**
 * Binds the services that a manifest names and the app has not yet; answers those that brokers are still at work on. What runs sees
 * them after its next start.
 */
export async function applyServices(
  tx: Transaction,
  context: Pick<Context, 'operations'>,
  actor: JobActor,
  app: AppInSpace,
  services: readonly ManifestService[],
): Promise<string[]> {
  const underWay: string[] = []
  for (const wish of services) {
    const instance = await tx.serviceInstance.findFirst({
      where: { name: wish.name, OR: [{ spaceGuid: app.spaceGuid }, { sharings: { some: { spaceGuid: app.spaceGuid } } }] },
    })
    if (!instance) throw new CfError('ResourceNotFound', `Service instance '${wish.name}' not found`)
    const present = await tx.credentialBinding.findMany({
      where: { appGuid: app.guid, serviceInstanceGuid: instance.guid, type: 'app' },
    })
    const alive = present.filter(({ lastOperation }) => !isFailedCreate(lastOperation))
    underWay.push(...alive.filter(({ lastOperation }) => isCreating(lastOperation)).map(({ guid }) => guid))
    const leaving = alive.filter(({ lastOperation }) => (lastOperation as { type?: unknown } | null)?.type === 'delete')
    if (alive.length > leaving.length) continue
    if (leaving[0]) throw unprocessable(`For service '${wish.name}': ${whyInTheWay(leaving[0].lastOperation)}`)
    try {
      const { binding } = await createAppBinding(tx, context, actor, {
        appGuid: app.guid,
        serviceInstanceGuid: instance.guid,
        name: wish.bindingName,
        parameters: wish.parameters,
        byManifest: true,
      })
      if (isCreating(binding.lastOperation)) underWay.push(binding.guid)
    } catch (error) {
      throw error instanceof CfError ? unprocessable(`For service '${wish.name}': ${error.message}`) : error
    }
  }
  return underWay
}

const whyInTheWay = (operation: unknown): string =>
  (operation as { state?: unknown }).state === 'failed'
    ? 'A binding failed to be deleted. Resolve the issue with this binding before retrying this operation.'
    : 'A binding is being deleted. Retry this operation later.'
