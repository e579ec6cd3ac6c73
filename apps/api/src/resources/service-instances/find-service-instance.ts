import type { FastifyRequest } from 'fastify'
import type { Database, Transaction, ServiceInstance } from '@bloomery/database'
import { notFound } from '../../http/errors.js'
import type { SpaceRight } from '../../http/permissions.js'
import type { SpaceInOrganization } from '../spaces/find-space.js'

export type InstanceInSpace = ServiceInstance & { space: SpaceInOrganization }
export const INSTANCE_PARTS = { space: { include: { organization: true } } } as const

/** The instance, if the caller has the right in its space: else 404 for what may not be seen, 403 for what may not be done. */
export async function findServiceInstance(
  db: Database | Transaction,
  request: FastifyRequest,
  guid: string,
  right: SpaceRight,
): Promise<InstanceInSpace> {
  const instance = await db.serviceInstance.findUnique({ where: { guid }, include: INSTANCE_PARTS })
  if (!instance) throw notFound('Service instance')
  await request.access.requireInSpace(right, instance.space, 'Service instance not found')
  return instance
}

/** Takes the instance's row until the transaction ends; answers it as it is now. */
export async function lockServiceInstance(tx: Transaction, guid: string): Promise<InstanceInSpace> {
  await tx.$executeRaw`SELECT 1 FROM service_instances WHERE guid = ${guid} FOR NO KEY UPDATE`
  const instance = await tx.serviceInstance.findUnique({ where: { guid }, include: INSTANCE_PARTS })
  if (!instance) throw notFound('Service instance')
  return instance
}
