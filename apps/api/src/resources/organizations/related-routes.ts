import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Organization } from '@bloomery/database'
import { parseBody, ToOneNullable } from '../../http/bodies.js'
import type { Context } from '../../http/context.js'
import { notFound, unprocessable } from '../../http/errors.js'
import { domainsOf, listDomains, visibleDomains, visibleSharings } from '../domains/list-domains.js'
import { presentDomain } from '../domains/presenter.js'
import { usageOfSpaces } from '../usage.js'
import { listUsers } from '../users/list-users.js'

interface ByGuid {
  Params: { guid: string }
}

/** What hangs below an organization: domains, users, usage, isolation segment. */
export function organizationRelatedRoutes(app: FastifyInstance, { db, pool }: Context): void {
  const find = async (request: FastifyRequest, guid: string, right: 'org.read' | 'org.manage'): Promise<Organization> => {
    const organization = await db.organization.findUnique({ where: { guid } })
    if (!organization) throw notFound('Organization')
    await request.access.requireInOrganization(right, organization, 'Organization not found')
    return organization
  }

  app.get<ByGuid>('/v3/organizations/:guid/domains', { config: { permission: 'org.read' } }, async (request) => {
    const { guid } = await find(request, request.params.guid, 'org.read')
    return listDomains(db, request, { AND: [domainsOf({ guid }), visibleDomains(request)] })
  })

  app.get<ByGuid>('/v3/organizations/:guid/domains/default', { config: { permission: 'org.read' } }, async (request) => {
    const { guid } = await find(request, request.params.guid, 'org.read')
    // The oldest shared one; an organization without any uses its own.
    const include = { sharings: visibleSharings(request) }
    const orderBy = { sequence: 'asc' as const }
    const domain =
      (await db.domain.findFirst({
        where: { organizationGuid: null, internal: false, routerGroupGuid: null },
        include,
        orderBy,
      })) ??
      (await db.domain.findFirst({ where: { AND: [{ organizationGuid: guid }, visibleDomains(request)] }, include, orderBy }))
    if (!domain) throw notFound('Domain')
    return presentDomain(domain, request.baseUrl)
  })

  app.get<ByGuid>('/v3/organizations/:guid/users', { config: { permission: 'org.read' } }, async (request) => {
    const { guid } = await find(request, request.params.guid, 'org.read')
    return listUsers(db, request, {
      roles: { some: { OR: [{ organizationGuid: guid }, { space: { organizationGuid: guid } }] } },
    })
  })

  app.get<ByGuid>('/v3/organizations/:guid/usage_summary', { config: { permission: 'org.read' } }, async (request) => {
    const { guid } = await find(request, request.params.guid, 'org.read')
    const self = `${request.baseUrl}/v3/organizations/${guid}`
    return {
      usage_summary: await usageOfSpaces(pool, { organizationGuid: guid }),
      links: { self: { href: `${self}/usage_summary` }, organization: { href: self } },
    }
  })

  const segmentPath = '/v3/organizations/:guid/relationships/default_isolation_segment'
  const presentSegment = (guid: string, baseUrl: string) => ({
    data: null,
    links: { self: { href: `${baseUrl}/v3/organizations/${guid}/relationships/default_isolation_segment` } },
  })
  app.get<ByGuid>(segmentPath, { config: { permission: 'org.read' } }, async (request) =>
    presentSegment((await find(request, request.params.guid, 'org.read')).guid, request.baseUrl),
  )
  app.patch<ByGuid>(segmentPath, { config: { permission: 'org.manage' } }, async (request) => {
    const { guid } = await find(request, request.params.guid, 'org.manage')
    const { data } = parseBody(ToOneNullable, request.body)
    if (data)
      throw unprocessable(
        `Unable to assign isolation segment with guid '${data.guid}'. Ensure it has been entitled to this organization.`,
      )
    return presentSegment(guid, request.baseUrl)
  })
}
