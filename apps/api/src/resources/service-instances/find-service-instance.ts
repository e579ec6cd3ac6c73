import type { FastifyRequest } from 'fastify'
import type { Database, Prisma, Transaction } from '@bloomery/database'
import { notFound } from '../../http/errors.js'
import { notAuthorized, type SpaceRight } from '../../http/permissions.js'

export const INSTANCE_PARTS = {
  space: { include: { organization: true } },
  plan: { include: { offering: { include: { broker: true } } } },
} as const satisfies Prisma.ServiceInstanceInclude
/** An instance with its home and, if a broker made it, its plan. */
export type InstanceInSpace = Prisma.ServiceInstanceGetPayload<{ include: typeof INSTANCE_PARTS }>

/**
 * The instance, if the caller has the right in its home: else 404 for what may not be seen, 403 for what may not be done. Who sees a
 * space that it is shared with sees it too, and may do nothing to it.
 */
export async function findServiceInstance(
  db: Database | Transaction,
  request: FastifyRequest,
  guid: string,
  right: SpaceRight,
): Promise<InstanceInSpace> {
  const instance = await db.serviceInstance.findUnique({ where: { guid }, include: INSTANCE_PARTS })
  if (!instance) throw notFound('Service instance')
  if (!(await request.access.hasInSpace('space.read', instance.space)) && (await isSharedWithCaller(db, request, guid))) {
    if (right !== 'space.read') throw notAuthorized()
    return instance
  }
  await request.access.requireInSpace(right, instance.space, 'Service instance not found')
  return instance
}

/** Whether the caller sees a space that the instance is shared with. */
export const isSharedWithCaller = async (db: Database | Transaction, request: FastifyRequest, guid: string): Promise<boolean> =>
  (await db.serviceInstanceSharing.count({ where: { serviceInstanceGuid: guid, space: request.access.spaces() } })) > 0

/** Takes the instance's row until the transaction ends; answers it as it is now. */
export async function lockServiceInstance(tx: Transaction, guid: string): Promise<InstanceInSpace> {
  await tx.$executeRaw`SELECT 1 FROM service_instances WHERE guid = ${guid} FOR NO KEY UPDATE`
  const instance = await tx.serviceInstance.findUnique({ where: { guid }, include: INSTANCE_PARTS })
  if (!instance) throw notFound('Service instance')
  return instance
}
