import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Prisma } from '@bloomery/database'
import type { Context } from '../../http/context.js'
import { notFound } from '../../http/errors.js'
import { parseListQuery, presentList, readPage, type ListQuery } from '../../http/lists.js'
import { presentAuditEvent } from './presenter.js'

/** Who may see what happened: whoever develops in the space or audits it, and the organization's auditors. Managers may not. */
const SPACE_ROLES = ['space_developer', 'space_auditor']
interface ByGuid {
  Params: { guid: string }
}

export function auditEventRoutes(app: FastifyInstance, { db }: Context): void {
  const visible = async (request: FastifyRequest): Promise<Prisma.AuditEventWhereInput> => {
    if (request.access.isGlobalReader) return {}
    // Events outlive their space, so they are found by guid and not through a relation.
    const roles = await db.role.findMany({
      where: { userGuid: request.principal.guid, type: { in: [...SPACE_ROLES, 'organization_auditor'] } },
      select: { spaceGuid: true, organizationGuid: true },
    })
    return {
      OR: [
        { spaceGuid: { in: roles.flatMap(({ spaceGuid }) => spaceGuid ?? []) } },
        { organizationGuid: { in: roles.flatMap(({ organizationGuid }) => organizationGuid ?? []) } },
      ],
    }
  }

  app.get('/v3/audit_events', { config: { permission: 'authenticated' } }, async (request) => {
    const query = parseListQuery(request, {
      filters: ['types', 'target_guids', 'target_guids[not]', 'space_guids', 'organization_guids'],
      labels: false,
      withoutUpdatedAt: true,
      tieBreaker: 'sequence',
    })
    const where: Prisma.AuditEventWhereInput = {
      AND: [await visible(request), ...(query.common as Prisma.AuditEventWhereInput[]), ...filtersOf(query)],
    }
    const page = await readPage(
      query,
      (window) => db.auditEvent.findMany({ where, orderBy: query.orderBy, ...window }),
      () => db.auditEvent.count({ where }),
    )
    return presentList(request, query, page, (event) => presentAuditEvent(event, request.baseUrl))
  })

  app.get<ByGuid>('/v3/audit_events/:guid', { config: { permission: 'authenticated' } }, async (request) => {
    const event = await db.auditEvent.findFirst({ where: { AND: [{ guid: request.params.guid }, await visible(request)] } })
    if (!event) throw notFound('Event')
    return presentAuditEvent(event, request.baseUrl)
  })
}

function filtersOf(query: ListQuery): Prisma.AuditEventWhereInput[] {
  const among = (name: string, condition: (values: string[]) => Prisma.AuditEventWhereInput): Prisma.AuditEventWhereInput[] => {
    const values = query.values(name)
    return values ? [condition(values)] : []
  }
  return [
    ...among('types', (values) => ({ type: { in: values } })),
    ...among('target_guids', (values) => ({ targetGuid: { in: values } })),
    ...among('target_guids[not]', (values) => ({ targetGuid: { notIn: values } })),
    ...among('space_guids', (values) => ({ spaceGuid: { in: values } })),
    ...among('organization_guids', (values) => ({ organizationGuid: { in: values } })),
  ]
}
