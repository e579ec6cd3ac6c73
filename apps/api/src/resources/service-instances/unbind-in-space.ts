import { setTimeout as delay } from 'node:timers/promises'
import { CfError } from '@bloomery/contracts'
import type { Context } from '../../http/context.js'
import type { JobActor } from '../../jobs/jobs.js'
import { readLastOperation } from './last-operation.js'
import type { InstanceInSpace } from './find-service-instance.js'

const LOOK_EVERY_MS = 150

/**
 * Unbinds the apps of a space from an instance that is not to be shared with it any longer, and waits while the broker answers at once.
 * What takes longer, or is refused, is told: then the instance stays shared.
 */
export async function unbindInSpace(
  { db, operations, now }: Pick<Context, 'db' | 'operations' | 'now'>,
  actor: JobActor,
  instance: InstanceInSpace,
  spaceGuid: string,
): Promise<void> {
  const where = { serviceInstanceGuid: instance.guid, app: { spaceGuid } }
  const read = () => db.credentialBinding.findMany({ where, include: { app: { include: { space: true } } } })
  const since = now()
  let bindings = await read()
  if (bindings.length === 0) return
  await db.$transaction(async (tx) => {
    for (const { guid } of bindings)
      await operations.enqueue(tx, {
        resourceType: 'credential_binding',
        resourceGuid: guid,
        serviceInstanceGuid: instance.guid,
        type: 'delete',
        brokerGuid: instance.plan?.offering.brokerGuid ?? null,
        params: {},
        actor,
      })
  })
  operations.kick()
  const polling = async (): Promise<number> =>
    db.serviceOperation.count({
      where: { resourceGuid: { in: bindings.map(({ guid }) => guid) }, type: 'delete', phase: 'requested' },
    })
  for (bindings = await read(); bindings.length > 0 && (await polling()) > 0; bindings = await read()) await delay(LOOK_EVERY_MS)
  if (bindings.length === 0) return
  const reasons = bindings.map(({ app, lastOperation }) => {
    const last = readLastOperation(lastOperation)
    return last?.state === 'failed' && new Date(last.updated_at) >= since
      ? `\t${last.description ?? ''}`
      : `\tThe binding between an application and service instance ${instance.name} in space ${app?.space.name ?? ''} is being deleted asynchronously.`
  })
  throw new CfError(
    'ServiceInstanceUnshareFailed',
    `Unshare of service instance failed: \n\nUnshare of service instance failed because one or more bindings could not be deleted.\n\n ${reasons.join('\n\n')}`,
  )
}
