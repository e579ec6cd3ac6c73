import { randomUUID } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import { isUniqueViolation, type Organization, type Prisma } from '@bloomery/database'
import { z } from 'zod'
import { recordAudit } from '../../http/audit.js'
import { parseBody, ResourceName } from '../../http/bodies.js'
import type { Context } from '../../http/context.js'
import { notFound, unprocessable } from '../../http/errors.js'
import { isFeatureEnabled } from '../../http/feature-flags.js'
import { parseListQuery, presentList, readPage } from '../../http/lists.js'
import { applyMetadata, MetadataInput } from '../../http/metadata.js'
import { notAuthorized } from '../../http/permissions.js'
import { accept, actorOf } from '../../jobs/routes.js'
import { DeleteOrganizationParams, deleteOrganization } from './delete-organization.js'
import { presentOrganization } from './presenter.js'

const CreateOrganization = z.strictObject({
  name: ResourceName,
  suspended: z.boolean().optional(),
  metadata: MetadataInput.optional(),
})
const UpdateOrganization = z.strictObject({
  name: ResourceName.optional(),
  suspended: z.boolean().optional(),
  metadata: MetadataInput.optional(),
})
interface ByGuid {
  Params: { guid: string }
}

export function organizationRoutes(app: FastifyInstance, context: Context): void {
  const { db } = context
  const find = async (guid: string): Promise<Organization> => {
    const organization = await db.organization.findUnique({ where: { guid } })
    if (!organization) throw notFound('Organization')
    return organization
  }

  app.get('/v3/organizations', { config: { permission: 'authenticated' } }, async (request) => {
    const query = parseListQuery(request, { filters: ['names'], orderBy: { name: 'name' } })
    const names = query.values('names')
    const where: Prisma.OrganizationWhereInput = {
      AND: [
        request.access.organizations(),
        ...query.common,
        ...(names ? [{ OR: names.map((name) => ({ name: { equals: name, mode: 'insensitive' as const } })) }] : []),
      ],
    }
    const page = await readPage(
      query,
      (window) => db.organization.findMany({ where, orderBy: query.orderBy, ...window }),
      () => db.organization.count({ where }),
    )
    return presentList(request, query, page, (organization) => presentOrganization(organization, request.baseUrl))
  })

  app.get<ByGuid>('/v3/organizations/:guid', { config: { permission: 'org.read' } }, async (request) => {
    const organization = await find(request.params.guid)
    await request.access.requireInOrganization('org.read', organization, 'Organization not found')
    return presentOrganization(organization, request.baseUrl)
  })

  app.post('/v3/organizations', { config: { permission: 'organization.create' } }, async (request, reply) => {
    if (!request.access.isAdmin && !(await isFeatureEnabled(db, 'user_org_creation'))) throw notAuthorized()
    const input = parseBody(CreateOrganization, request.body)
    const guid = randomUUID()
    const quota = await db.organizationQuota.findFirstOrThrow({ where: { isDefault: true } })
    try {
      const organization = await db.$transaction(async (tx) => {
        const created = await tx.organization.create({
          data: {
            guid,
            name: input.name,
            suspended: input.suspended ?? false,
            quotaGuid: quota.guid,
            ...applyMetadata(undefined, input.metadata),
          },
        })
        // Whoever is no admin could not go on without being its manager.
        if (!request.access.isAdmin && request.principal.kind === 'user')
          for (const type of ['organization_user', 'organization_manager'])
            await tx.role.create({ data: { guid: randomUUID(), type, userGuid: request.principal.guid, organizationGuid: guid } })
        await recordAudit(tx, actorOf(request), {
          type: 'audit.organization.create',
          target: { type: 'organization', guid, name: input.name },
          organizationGuid: guid,
          data: { request: { name: input.name } },
        })
        return created
      })
      return await reply.code(201).send(presentOrganization(organization, request.baseUrl))
    } catch (error) {
      throw nameTaken(error, input.name)
    }
  })

  app.patch<ByGuid>('/v3/organizations/:guid', { config: { permission: 'org.manage' } }, async (request) => {
    const organization = await find(request.params.guid)
    await request.access.requireInOrganization('org.manage', organization, 'Organization not found')
    const input = parseBody(UpdateOrganization, request.body)
    if (input.suspended !== undefined && input.suspended !== organization.suspended) request.access.requireAdmin()
    try {
      const updated = await db.$transaction(async (tx) => {
        const row = await tx.organization.update({
          where: { guid: organization.guid },
          data: {
            ...(input.name === undefined ? {} : { name: input.name }),
            ...(input.suspended === undefined ? {} : { suspended: input.suspended }),
            ...applyMetadata(organization, input.metadata),
          },
        })
        await recordAudit(tx, actorOf(request), {
          type: 'audit.organization.update',
          target: { type: 'organization', guid: row.guid, name: row.name },
          organizationGuid: row.guid,
          data: { request: { name: row.name, suspended: row.suspended } },
        })
        return row
      })
      return presentOrganization(updated, request.baseUrl)
    } catch (error) {
      throw nameTaken(error, input.name ?? '')
    }
  })

  context.jobs.register('organization.delete', DeleteOrganizationParams, (job) =>
    deleteOrganization(context, job.params.guid, job),
  )
  app.delete<ByGuid>('/v3/organizations/:guid', { config: { permission: 'admin' } }, async (request, reply) => {
    const organization = await find(request.params.guid)
    await request.access.requireInOrganization('org.read', organization, 'Organization not found')
    request.access.requireAdmin()
    return accept(context, request, reply, {
      operation: 'organization.delete',
      params: { guid: organization.guid },
      resourceType: 'organizations',
      resourceGuid: organization.guid,
    })
  })
}

const nameTaken = (error: unknown, name: string): unknown =>
  isUniqueViolation(error) ? unprocessable(`Organization '${name}' already exists.`) : error
