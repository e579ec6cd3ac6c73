import { CfError } from '@bloomery/contracts'
import type { Transaction } from '@bloomery/database'
import { unprocessable } from '../../http/errors.js'
import type { JobActor } from '../../jobs/jobs.js'
import { isShareable } from '../service-offerings/presenter.js'
import { isUsableInSpace } from '../service-plans/plan-access.js'
import type { SpaceInOrganization } from '../spaces/find-space.js'
import { isManaged } from '../../service-bindings/bound-instance.js'
import { lockServiceInstance } from './find-service-instance.js'
import { recordInstanceData } from './instance-events.js'
import { isBeingCreated, isBeingDeleted, isCreateFailed } from './last-operation.js'

/** Lets other spaces bind the instance, all of them or none. */
export async function shareInstance(
  tx: Transaction,
  actor: JobActor,
  guid: string,
  targets: readonly SpaceInOrganization[],
): Promise<void> {
  const instance = await lockServiceInstance(tx, guid)
  if (!isManaged(instance)) throw unprocessable('User-provided services cannot be shared.')
  const { plan } = instance
  const { offering } = plan
  if (offering.requires.includes('route_forwarding')) throw unprocessable('Route services cannot be shared.')
  if (!isShareable(offering)) throw unprocessable(`The ${offering.name} service does not support service instance sharing.`)
  if (targets.some((space) => space.guid === instance.spaceGuid))
    throw unprocessable(
      `Unable to share service instance '${instance.name}' with space '${instance.spaceGuid}'. Service instances cannot be shared into the space where they were created.`,
    )
  if (!plan.active) throw unprocessable(`The service instance could not be shared as the ${plan.name} plan is inactive.`)
  if (isCreateFailed(instance))
    throw new CfError('ServiceInstanceNotFound', `The service instance could not be found: ${instance.name}`)
  if (isBeingCreated(instance))
    throw unprocessable('Service instance is currently being created. It can be shared after its creation succeeded.')
  if (isBeingDeleted(instance)) throw unprocessable('The service instance is getting deleted.')
  for (const space of targets) {
    if (!(await isUsableInSpace(tx, plan, space)))
      throw unprocessable(
        `Access to service ${offering.name} and plan ${plan.name} is not enabled in ${space.organization.name}/${space.name}.`,
      )
    const same = await tx.serviceInstance.findFirst({
      where: {
        name: instance.name,
        OR: [{ spaceGuid: space.guid }, { sharings: { some: { spaceGuid: space.guid } } }],
      },
    })
    if (same)
      throw unprocessable(
        same.spaceGuid === space.guid
          ? `A service instance called ${instance.name} already exists in ${space.name}.`
          : `A service instance called ${instance.name} has already been shared with ${space.name}.`,
      )
  }
  await tx.serviceInstanceSharing.createMany({
    data: targets.map((space) => ({ serviceInstanceGuid: guid, spaceGuid: space.guid })),
  })
  await recordInstanceData(tx, actor, instance, 'share', { target_space_guids: targets.map((space) => space.guid) })
}
