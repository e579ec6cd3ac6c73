import type { FastifyInstance, FastifyRequest } from 'fastify'
import { rows, sql, type OrphanMitigation, type Transaction } from '@bloomery/database'
import { recordAudit } from '../../http/audit.js'
import type { Context } from '../../http/context.js'
import { notFound, unprocessable } from '../../http/errors.js'
import { notAuthorized } from '../../http/permissions.js'
import { actorOf } from '../../jobs/routes.js'

interface ByGuid {
  Params: { guid: string }
}
const PATH = '/bloomery/v1/orphan_mitigations'

/** More than this many at once is a broker that is away, not a list to be read. */
const MOST_SHOWN = 1_000

/**
 * For operators: what brokers may still hold although the platform has given it up. Deletions under way are listed with those that
 * were tried in vain to the end; each can be tried again at once, or forgotten.
 */
export function orphanMitigationRoutes(app: FastifyInstance, { db, pool }: Context): void {
  app.get(PATH, { config: { permission: 'admin.read' } }, async (request) => {
    if (!request.access.isGlobalReader) throw notAuthorized()
    const found = await rows<Listed>(
      pool,
      sql`SELECT m.guid, m.kind, m.service_instance_guid, m.binding_guid, m.broker_guid, b.name AS broker_name, m.reason, m.attempts,
            m.last_error, m.next_attempt_at, m.given_up_at, m.created_at, count(*) OVER ()::int AS total,
            (m.claim_expires_at > clock_timestamp()) IS TRUE AS held
          FROM orphan_mitigations m LEFT JOIN service_brokers b ON b.guid = m.broker_guid
          ORDER BY m.given_up_at DESC NULLS LAST, m.next_attempt_at, m.guid LIMIT ${MOST_SHOWN}`,
    )
    return { total: found[0]?.total ?? 0, resources: found.map(present) }
  })

  /** From the beginning, with all attempts that there are. */
  app.post<ByGuid>(`${PATH}/:guid/actions/retry`, { config: { permission: 'admin' } }, async (request, reply) => {
    await db.$transaction(async (tx) => {
      const found = await take(tx, request.params.guid)
      await tx.orphanMitigation.update({
        where: { guid: found.guid },
        data: { attempts: 0, givenUpAt: null, nextAttemptAt: new Date(0) },
      })
      await tell(tx, request, found, 'retry')
    })
    return reply.code(202).send({})
  })

  /** The broker keeps what it has: somebody has removed it there, or never will. */
  app.delete<ByGuid>(`${PATH}/:guid`, { config: { permission: 'admin' } }, async (request, reply) => {
    await db.$transaction(async (tx) => {
      const found = await take(tx, request.params.guid)
      await tx.orphanMitigation.delete({ where: { guid: found.guid } })
      await tell(tx, request, found, 'forget')
    })
    return reply.code(204).send()
  })
}

/** Takes the row until the transaction ends; one that a broker is being asked about just now is left to that. */
async function take(tx: Transaction, guid: string): Promise<OrphanMitigation> {
  await tx.$executeRaw`SELECT 1 FROM orphan_mitigations WHERE guid = ${guid} FOR UPDATE`
  const found = await tx.orphanMitigation.findUnique({ where: { guid } })
  if (!found) throw notFound('Orphan mitigation')
  if (found.claimExpiresAt !== null && found.claimExpiresAt > new Date())
    throw unprocessable('The service broker is being asked to delete this just now; look again in a minute.')
  return found
}

const tell = (tx: Transaction, request: FastifyRequest, found: OrphanMitigation, act: 'retry' | 'forget'): Promise<void> =>
  recordAudit(tx, actorOf(request), {
    type: `audit.bloomery.orphan_mitigation.${act}`,
    target: { type: 'orphan_mitigation', guid: found.guid, name: found.bindingGuid ?? found.serviceInstanceGuid },
    data: { kind: found.kind, service_instance_guid: found.serviceInstanceGuid, broker_guid: found.brokerGuid },
  })

interface Listed {
  readonly guid: string
  readonly kind: string
  readonly service_instance_guid: string
  readonly binding_guid: string | null
  readonly broker_guid: string
  readonly broker_name: string | null
  readonly reason: string
  readonly attempts: number
  readonly last_error: string | null
  readonly next_attempt_at: Date
  readonly given_up_at: Date | null
  readonly created_at: Date
  readonly total: number
  readonly held: boolean
}

const present = ({ total: _total, held, broker_guid: guid, broker_name: name, ...row }: Listed) => ({
  guid: row.guid,
  state: row.given_up_at ? 'given up' : held ? 'under way' : 'waiting',
  kind: row.kind,
  service_instance_guid: row.service_instance_guid,
  service_binding_guid: row.binding_guid,
  service_broker: { guid, name },
  reason: row.reason,
  attempts: row.attempts,
  last_error: row.last_error,
  next_attempt_at: row.given_up_at ? null : row.next_attempt_at.toISOString(),
  given_up_at: row.given_up_at?.toISOString() ?? null,
  created_at: row.created_at.toISOString(),
})
