import { setTimeout as delay } from 'node:timers/promises'
import type { Database } from '@bloomery/database'
import { unprocessable } from '../http/errors.js'
import { isCreating, isFailedCreate } from './bound-instance.js'

const LOOK_EVERY_MS = 300

/**
 * Waits until brokers have let go of these bindings, as part of a job that deletes what they belong to. Rejects with all the reasons
 * where some could not be unbound. A job that is begun anew waits anew.
 */
export async function waitUntilUnbound(
  { credentialBinding, serviceOperation }: Pick<Database, 'credentialBinding' | 'serviceOperation'>,
  guids: readonly string[],
): Promise<void> {
  for (;;) {
    const left = await credentialBinding.findMany({
      where: { guid: { in: [...guids] } },
      include: { serviceInstance: { select: { name: true } } },
    })
    if (left.length === 0) return
    const underWay = await serviceOperation.count({
      where: { resourceType: 'credential_binding', resourceGuid: { in: left.map(({ guid }) => guid) } },
    })
    if (underWay === 0)
      throw unprocessable(
        left.map(
          ({ lastOperation, serviceInstance }) =>
            `The service instance '${serviceInstance.name}' could not be unbound: ${reasonOf(lastOperation)}`,
        ),
      )
    await delay(LOOK_EVERY_MS)
  }
}

/** Waits until brokers have made these bindings, as part of a job. Rejects with all the reasons where some could not be made. */
export async function waitUntilBound(
  { credentialBinding }: Pick<Database, 'credentialBinding'>,
  guids: readonly string[],
): Promise<void> {
  for (;;) {
    const bindings = await credentialBinding.findMany({
      where: { guid: { in: [...guids] } },
      include: { serviceInstance: { select: { name: true } }, app: { select: { name: true } } },
    })
    if (!bindings.some(({ lastOperation }) => isCreating(lastOperation))) {
      const failed = bindings.filter(({ lastOperation }) => isFailedCreate(lastOperation))
      if (failed.length === 0) return
      throw unprocessable(
        failed.map(
          ({ app, serviceInstance, lastOperation }) =>
            `For application '${app?.name ?? ''}': For service '${serviceInstance.name}': ${reasonOf(lastOperation)}`,
        ),
      )
    }
    await delay(LOOK_EVERY_MS)
  }
}

function reasonOf(lastOperation: unknown): string {
  const { description } = (lastOperation ?? {}) as { description?: unknown }
  return typeof description === 'string' && description !== '' ? description : 'the broker gave no reason'
}
