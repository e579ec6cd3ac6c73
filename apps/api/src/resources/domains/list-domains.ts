import type { FastifyRequest } from 'fastify'
import type { Database, Prisma } from '@bloomery/database'
import { parseListQuery, presentList, readPage } from '../../http/lists.js'
import { presentDomain } from './presenter.js'

/** Shared domains, and private ones of the organizations given, their own and those shared with them. */
export const domainsOf = (organizations: Prisma.OrganizationWhereInput): Prisma.DomainWhereInput => ({
  OR: [{ organizationGuid: null }, { organization: organizations }, { sharings: { some: { organization: organizations } } }],
})

export const visibleDomains = (request: FastifyRequest): Prisma.DomainWhereInput =>
  request.access.isGlobalReader ? {} : domainsOf(request.access.organizationsForDomains())

/** The sharings that the caller may know of. */
export const visibleSharings = (request: FastifyRequest) => ({
  where: { organization: request.access.organizations() },
  orderBy: { organizationGuid: 'asc' as const },
})

export async function listDomains(db: Database, request: FastifyRequest, scope: Prisma.DomainWhereInput) {
  const query = parseListQuery(request, { filters: ['names', 'organization_guids'], orderBy: { name: 'name' } })
  const names = query.values('names')
  const organizationGuids = query.values('organization_guids')
  const where: Prisma.DomainWhereInput = {
    AND: [
      scope,
      ...query.common,
      ...(names ? [{ OR: names.map((name) => ({ name: { equals: name, mode: 'insensitive' as const } })) }] : []),
      ...(organizationGuids ? [{ organizationGuid: { in: organizationGuids } }] : []),
    ],
  }
  const page = await readPage(
    query,
    (window) => db.domain.findMany({ where, orderBy: query.orderBy, include: { sharings: visibleSharings(request) }, ...window }),
    () => db.domain.count({ where }),
  )
  return presentList(request, query, page, (domain) => presentDomain(domain, request.baseUrl))
}
