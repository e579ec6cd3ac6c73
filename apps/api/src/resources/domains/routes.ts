import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Organization } from '@bloomery/database'
import { z } from 'zod'
import { recordAudit } from '../../http/audit.js'
import { parseBody, ToMany, ToOne } from '../../http/bodies.js'
import type { Context } from '../../http/context.js'
import { notFound, unprocessable } from '../../http/errors.js'
import { requireFeature } from '../../http/feature-flags.js'
import { applyMetadata, MetadataInput } from '../../http/metadata.js'
import { notAuthorized } from '../../http/permissions.js'
import { accept, actorOf } from '../../jobs/routes.js'
import { deleteRoutes } from '../routes/delete-routes.js'
import { createDomain } from './create-domain.js'
import { listDomains, visibleDomains, visibleSharings } from './list-domains.js'
import { presentDomain, type DomainWithSharings } from './presenter.js'

const LABEL = '(?!-)[A-Za-z0-9-]{1,63}(?<!-)'
const CreateDomain = z.strictObject({
  name: z
    .string('must be a string')
    .min(3, 'is too short (minimum is 3 characters)')
    .max(253, 'is too long (maximum is 253 characters)')
    .regex(/^[A-Za-z0-9.-]*$/, 'must consist of alphanumeric characters and hyphens')
    .regex(/\./, 'must contain at least one "."')
    .regex(new RegExp(`^${LABEL}(?:\\.${LABEL})*$`), 'does not comply with RFC 1035 standards'),
  internal: z.boolean('must be a boolean').nullish(),
  router_group: z.strictObject({ guid: z.string() }).nullish(),
  relationships: z.strictObject({ organization: ToOne, shared_organizations: ToMany.optional() }).optional(),
  metadata: MetadataInput.optional(),
})
const UpdateDomain = z.strictObject({ metadata: MetadataInput.optional() })
const DeleteDomainParams = z.object({ guid: z.string() })
interface ByGuid {
  Params: { guid: string }
}
interface BySharing {
  Params: { guid: string; organization: string }
}
type OwnedDomain = DomainWithSharings & { organization: Organization | null }

export function domainRoutes(app: FastifyInstance, context: Context): void {
  const { db } = context
  const find = async (request: FastifyRequest, guid: string): Promise<OwnedDomain> => {
    const domain = await db.domain.findFirst({
      where: { AND: [{ guid }, visibleDomains(request)] },
      include: { organization: true, sharings: visibleSharings(request) },
    })
    if (!domain) throw notFound('Domain')
    return domain
  }
  /** Shared domains are the admins'. */
  const requireOwner = async (request: FastifyRequest, domain: OwnedDomain): Promise<void> => {
    if (request.access.isAdmin) return
    if (!domain.organization || !(await request.access.hasInOrganization('org.manage', domain.organization.guid)))
      throw notAuthorized()
    await request.access.requireInOrganization('org.manage', domain.organization, 'Domain not found')
  }

  app.get('/v3/domains', { config: { permission: 'authenticated' } }, async (request) =>
    listDomains(db, request, visibleDomains(request)),
  )

  app.get<ByGuid>('/v3/domains/:guid', { config: { permission: 'authenticated' } }, async (request) =>
    presentDomain(await find(request, request.params.guid), request.baseUrl),
  )

  app.post('/v3/domains', { config: { permission: 'org.manage' } }, async (request, reply) => {
    const input = parseBody(CreateDomain, request.body)
    if (input.internal && input.relationships) throw unprocessable('Cannot associate an internal domain with an organization')
    if (input.internal && input.router_group) throw unprocessable('Internal domains cannot be associated to a router group.')
    if (input.relationships && input.router_group)
      throw unprocessable('Domains scoped to an organization cannot be associated to a router group.')
    let organization: Organization | undefined
    if (input.relationships) {
      organization = await ownerFor(request, input.relationships.organization.data.guid)
      if (!request.access.isAdmin) await requireFeature(db, 'private_domain_creation')
    } else request.access.requireAdmin()
    if (input.router_group) await requireTcpGroup(input.router_group.guid)
    const sharedWith = input.relationships?.shared_organizations?.data.map(({ guid }) => guid) ?? []
    await requireShareable(request, sharedWith, organization?.guid)
    const created = await createDomain(context, actorOf(request), {
      name: input.name.toLowerCase(),
      internal: input.internal ?? false,
      organization,
      routerGroupGuid: input.router_group?.guid,
      sharedWith,
      metadata: applyMetadata(undefined, input.metadata),
    })
    return reply.code(201).send(presentDomain(await find(request, created.guid), request.baseUrl))
  })

  app.patch<ByGuid>('/v3/domains/:guid', { config: { permission: 'org.manage' } }, async (request) => {
    const domain = await find(request, request.params.guid)
    await requireOwner(request, domain)
    const { metadata } = parseBody(UpdateDomain, request.body)
    const updated = await db.$transaction(async (tx) => {
      await recordAudit(tx, actorOf(request), {
        type: 'audit.domain.update',
        target: { type: 'domain', guid: domain.guid, name: domain.name },
        organizationGuid: domain.organizationGuid,
      })
      return tx.domain.update({ where: { guid: domain.guid }, data: applyMetadata(domain, metadata) })
    })
    return presentDomain({ ...updated, sharings: domain.sharings }, request.baseUrl)
  })

  context.jobs.register('domain.delete', DeleteDomainParams, async ({ params: { guid }, actor }) => {
    await deleteRoutes(context, { domainGuid: guid }, actor)
    await db.$transaction(async (tx) => {
      const domain = await tx.domain.findUnique({ where: { guid } })
      if (!domain) return
      await tx.domain.delete({ where: { guid } })
      await recordAudit(tx, actor, {
        type: 'audit.domain.delete-request',
        target: { type: 'domain', guid, name: domain.name },
        organizationGuid: domain.organizationGuid,
      })
    })
  })
  app.delete<ByGuid>('/v3/domains/:guid', { config: { permission: 'org.manage' } }, async (request, reply) => {
    const domain = await find(request, request.params.guid)
    await requireOwner(request, domain)
    if ((await db.domainSharing.count({ where: { domainGuid: domain.guid } })) > 0)
      throw unprocessable('This domain is shared with other organizations. Unshare before deleting.')
    return accept(context, request, reply, {
      operation: 'domain.delete',
      params: { guid: domain.guid },
      resourceType: 'domains',
      resourceGuid: domain.guid,
    })
  })

  app.get<ByGuid>('/v3/domains/:guid/route_reservations', { config: { permission: 'authenticated' } }, async (request) => {
    const domain = await find(request, request.params.guid)
    const query = request.query as { host?: string; path?: string; port?: string }
    const port = Number(query.port ?? 0)
    const found = await db.route.count({
      where: { domainGuid: domain.guid, host: (query.host ?? '').toLowerCase(), path: query.path ?? '', port },
    })
    return { matching_route: found > 0 }
  })

  app.post<ByGuid>(
    '/v3/domains/:guid/relationships/shared_organizations',
    { config: { permission: 'org.manage' } },
    async (request) => {
      const domain = await find(request, request.params.guid)
      await requireOwner(request, domain)
      const guids = parseBody(ToMany, request.body).data.map(({ guid }) => guid)
      if (domain.organizationGuid === null)
        throw unprocessable('Domains cannot be shared with other organizations unless they are scoped to an organization.')
      await requireShareable(request, guids, domain.organizationGuid)
      await db.$transaction(async (tx) => {
        await tx.domainSharing.createMany({
          data: guids.map((organizationGuid) => ({ domainGuid: domain.guid, organizationGuid })),
          skipDuplicates: true,
        })
        await recordAudit(tx, actorOf(request), {
          type: 'audit.domain.share',
          target: { type: 'domain', guid: domain.guid, name: domain.name },
          organizationGuid: domain.organizationGuid,
          data: { organizations: guids },
        })
      })
      const { sharings } = await find(request, domain.guid)
      return { data: sharings.map(({ organizationGuid }) => ({ guid: organizationGuid })) }
    },
  )

  app.delete<BySharing>(
    '/v3/domains/:guid/relationships/shared_organizations/:organization',
    { config: { permission: 'org.manage' } },
    async (request, reply) => {
      const domain = await find(request, request.params.guid)
      const organization = await db.organization.findUnique({ where: { guid: request.params.organization } })
      if (!organization || !(await request.access.hasInOrganization('org.read', organization.guid)))
        throw unprocessable(
          `Organization with guid '${request.params.organization}' does not exist or you do not have access to it.`,
        )
      // Either side may end it.
      if (!(await request.access.hasInOrganization('org.manage', organization.guid))) await requireOwner(request, domain)
      if (await db.route.count({ where: { domainGuid: domain.guid, space: { organizationGuid: organization.guid } } }))
        throw unprocessable('This domain has associated routes in this organization. Delete the routes before unsharing.')
      await db.$transaction(async (tx) => {
        const { count } = await tx.domainSharing.deleteMany({
          where: { domainGuid: domain.guid, organizationGuid: organization.guid },
        })
        if (count === 0)
          throw unprocessable(
            `Unable to unshare domain from organization with name '${organization.name}'. Ensure the domain is shared to this organization.`,
          )
        await recordAudit(tx, actorOf(request), {
          type: 'audit.domain.unshare',
          target: { type: 'domain', guid: domain.guid, name: domain.name },
          organizationGuid: domain.organizationGuid,
          data: { organizations: [organization.guid] },
        })
      })
      return reply.code(204).send()
    },
  )

  async function requireTcpGroup(guid: string): Promise<void> {
    const group = await db.routerGroup.findUnique({ where: { guid } })
    if (!group) throw unprocessable(`Router group with guid '${guid}' not found.`)
    if (group.type !== 'tcp')
      throw unprocessable(
        `Router group '${group.name}' is of type '${group.type}'; a domain can belong to a group of type 'tcp'.`,
      )
  }

  async function ownerFor(request: FastifyRequest, guid: string): Promise<Organization> {
    const organization = await db.organization.findUnique({ where: { guid } })
    if (!organization || !(await request.access.hasInOrganization('org.read', guid)))
      throw unprocessable(`Organization with guid '${guid}' does not exist or you do not have access to it.`)
    await request.access.requireInOrganization('org.manage', organization, 'Organization not found')
    return organization
  }

  async function requireShareable(request: FastifyRequest, guids: readonly string[], owner: string | undefined): Promise<void> {
    const organizations = await db.organization.findMany({ where: { guid: { in: [...guids] } } })
    for (const guid of guids) {
      const organization = organizations.find((each) => each.guid === guid)
      if (!organization || !(await request.access.hasInOrganization('org.read', guid)))
        throw unprocessable(`Organization with guid '${guid}' does not exist, or you do not have access to it.`)
      if (!(await request.access.hasInOrganization('org.manage', guid)))
        throw unprocessable(`You do not have sufficient permissions for organization '${organization.name}' to share domain.`)
      if (organization.suspended && !request.access.isAdmin)
        throw unprocessable(`Organization '${organization.name}' is suspended.`)
    }
    if (owner !== undefined && guids.includes(owner)) throw unprocessable('Domain cannot be shared with owning organization.')
  }
}
