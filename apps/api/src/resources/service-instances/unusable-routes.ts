import type { FastifyInstance } from 'fastify'
import { rows, sql } from '@bloomery/database'
import { recordAudit } from '../../http/audit.js'
import type { Context } from '../../http/context.js'
import { unprocessable } from '../../http/errors.js'
import { notAuthorized } from '../../http/permissions.js'
import { actorOf } from '../../jobs/routes.js'
import { requireIdle } from '../../service-operations/accept-operation.js'
import { lockServiceInstance } from './find-service-instance.js'
import { readLastOperation } from './last-operation.js'
import { afterRepair } from './usability.js'

interface ByGuid {
  Params: { guid: string }
}
const PATH = '/bloomery/v1/unusable_service_instances'

/** More than this many at once is a broker at fault, not a list to be read. */
const MOST_SHOWN = 1_000

/**
 * For operators: instances of which a broker has said, when it failed to update or delete them, that they serve no more. One that was
 * repaired at the broker can be declared so: nothing else tells the platform of it.
 */
export function unusableInstanceRoutes(app: FastifyInstance, { db, pool }: Context): void {
  app.get(PATH, { config: { permission: 'admin.read' } }, async (request) => {
    if (!request.access.isGlobalReader) throw notAuthorized()
    const found = await rows<Listed>(
      pool,
      sql`SELECT i.guid, i.name, i.last_operation, s.guid AS space_guid, s.name AS space_name, o.guid AS organization_guid,
            o.name AS organization_name, b.guid AS broker_guid, b.name AS broker_name, so.name AS offering_name, p.name AS plan_name,
            count(*) OVER ()::int AS total
          FROM service_instances i
            JOIN spaces s ON s.guid = i.space_guid JOIN organizations o ON o.guid = s.organization_guid
            JOIN service_plans p ON p.guid = i.plan_guid JOIN service_offerings so ON so.guid = p.offering_guid
            JOIN service_brokers b ON b.guid = so.broker_guid
          WHERE NOT i.usable ORDER BY o.name, s.name, i.name, i.guid LIMIT ${MOST_SHOWN}`,
    )
    return { total: found[0]?.total ?? 0, resources: found.map(present) }
  })

  /** It can be bound and updated again, as after an update that has succeeded. No broker is asked. */
  app.post<ByGuid>(`${PATH}/:guid/actions/declare_repaired`, { config: { permission: 'admin' } }, async (request, reply) => {
    await db.$transaction(async (tx) => {
      const { guid } = request.params
      const instance = await lockServiceInstance(tx, guid)
      if (instance.usable)
        throw unprocessable(`The service instance ${instance.name} can be used: its service broker has said nothing else.`)
      // Its end tells by itself how the instance is.
      await requireIdle(tx, instance)
      await tx.serviceInstance.update({ where: { guid }, data: afterRepair(instance) })
      await recordAudit(tx, actorOf(request), {
        type: 'audit.bloomery.service_instance.declare_repaired',
        target: { type: 'service_instance', guid, name: instance.name },
        spaceGuid: instance.spaceGuid,
        organizationGuid: instance.space.organizationGuid,
      })
    })
    return reply.code(204).send()
  })
}

interface Listed {
  readonly guid: string
  readonly name: string
  readonly last_operation: unknown
  readonly space_guid: string
  readonly space_name: string
  readonly organization_guid: string
  readonly organization_name: string
  readonly broker_guid: string
  readonly broker_name: string
  readonly offering_name: string
  readonly plan_name: string
  readonly total: number
}

function present(row: Listed) {
  const last = readLastOperation(row.last_operation)
  return {
    guid: row.guid,
    name: row.name,
    organization: { guid: row.organization_guid, name: row.organization_name },
    space: { guid: row.space_guid, name: row.space_name },
    service_broker: { guid: row.broker_guid, name: row.broker_name },
    service_offering: row.offering_name,
    service_plan: row.plan_name,
    last_operation: last && {
      type: last.type,
      state: last.state,
      description: last.description ?? null,
      updated_at: last.updated_at,
    },
  }
}
