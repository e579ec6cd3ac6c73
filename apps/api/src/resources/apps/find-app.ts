import type { FastifyRequest } from 'fastify'
import type { App, Database, Organization, Space, Transaction } from '@bloomery/database'
import { notFound } from '../../http/errors.js'
import type { SpaceRight } from '../../http/permissions.js'

export type AppInSpace = App & { space: Space & { organization: Organization } }
export const IN_SPACE = { space: { include: { organization: true } } } as const

/** The app, if the caller has the right in its space: else 404 for what may not be seen, 403 for what may not be done. */
export async function findApp(
  db: Database | Transaction,
  request: FastifyRequest,
  guid: string,
  right: SpaceRight,
): Promise<AppInSpace> {
  const app = await db.app.findUnique({ where: { guid }, include: IN_SPACE })
  if (!app) throw notFound('App')
  await request.access.requireInSpace(right, app.space, 'App not found')
  return app
}

/** Takes the app's row until the transaction ends, so that two changes of what shall run never mix; answers it as it is now. */
export async function lockApp(tx: Transaction, guid: string): Promise<AppInSpace> {
  await tx.$executeRaw`SELECT 1 FROM apps WHERE guid = ${guid} FOR NO KEY UPDATE`
  const app = await tx.app.findUnique({ where: { guid }, include: IN_SPACE })
  if (!app) throw notFound('App')
  return app
}
