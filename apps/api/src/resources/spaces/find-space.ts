import type { FastifyRequest } from 'fastify'
import type { Database, Organization, Space } from '@bloomery/database'
import { notFound } from '../../http/errors.js'
import type { SpaceRight } from '../../http/permissions.js'

export type SpaceInOrganization = Space & { organization: Organization }

/** The space, if the caller has the right in it: else 404 for what may not be seen, 403 for what may not be done. */
export async function findSpace(
  db: Database,
  request: FastifyRequest,
  guid: string,
  right: SpaceRight,
): Promise<SpaceInOrganization> {
  const space = await db.space.findUnique({ where: { guid }, include: { organization: true } })
  if (!space) throw notFound('Space')
  await request.access.requireInSpace(right, space, 'Space not found')
  return space
}
