import { randomUUID } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import { isUniqueViolation, type Prisma } from '@bloomery/database'
import { z } from 'zod'
import { recordAudit } from '../../http/audit.js'
import { parseBody, ResourceName, ToOne } from '../../http/bodies.js'
import type { Context } from '../../http/context.js'
import { unprocessable } from '../../http/errors.js'
import { parseListQuery, presentList, readPage } from '../../http/lists.js'
import { applyMetadata, MetadataInput } from '../../http/metadata.js'
import { accept, actorOf } from '../../jobs/routes.js'
import { presentOrganization } from '../organizations/presenter.js'
import { DeleteSpaceParams, deleteSpace } from './delete-space.js'
import { findSpace } from './find-space.js'
import { presentSpace } from './presenter.js'

const CreateSpace = z.strictObject({
  name: ResourceName,
  relationships: z.strictObject({ organization: ToOne }),
  metadata: MetadataInput.optional(),
})
const UpdateSpace = z.strictObject({ name: ResourceName.optional(), metadata: MetadataInput.optional() })
interface ByGuid {
  Params: { guid: string }
}

export function spaceRoutes(app: FastifyInstance, context: Context): void {
  const { db } = context
  context.jobs.register('space.delete', DeleteSpaceParams, (job) => deleteSpace(context, job.params.guid, job))

  app.get('/v3/spaces', { config: { permission: 'authenticated' } }, async (request) => {
    const query = parseListQuery(request, {
      filters: ['names', 'organization_guids'],
      orderBy: { name: 'name' },
      include: ['org', 'organization'],
    })
    const names = query.values('names')
    const organizationGuids = query.values('organization_guids')
    const where: Prisma.SpaceWhereInput = {
      AND: [
        request.access.spaces(),
        ...query.common,
        ...(names ? [{ OR: names.map((name) => ({ name: { equals: name, mode: 'insensitive' as const } })) }] : []),
        ...(organizationGuids ? [{ organizationGuid: { in: organizationGuids } }] : []),
      ],
    }
    const page = await readPage(
      query,
      (window) => db.space.findMany({ where, orderBy: query.orderBy, include: { organization: true }, ...window }),
      () => db.space.count({ where }),
    )
    const organizations = new Map(page.rows.map(({ organization }) => [organization.guid, organization]))
    return presentList(
      request,
      query,
      page,
      (space) => presentSpace(space, request.baseUrl),
      query.includes.size > 0
        ? { organizations: [...organizations.values()].map((each) => presentOrganization(each, request.baseUrl)) }
        : undefined,
    )
  })

  app.get<ByGuid>('/v3/spaces/:guid', { config: { permission: 'space.read' } }, async (request) => {
    const query = parseListQuery(request, { include: ['org', 'organization'], labels: false })
    const space = await findSpace(db, request, request.params.guid, 'space.read')
    return {
      ...presentSpace(space, request.baseUrl),
      ...(query.includes.size > 0
        ? { included: { organizations: [presentOrganization(space.organization, request.baseUrl)] } }
        : {}),
    }
  })

  app.post('/v3/spaces', { config: { permission: 'org.manage' } }, async (request, reply) => {
    const input = parseBody(CreateSpace, request.body)
    const organization = await db.organization.findUnique({ where: { guid: input.relationships.organization.data.guid } })
    if (!organization || !(await request.access.hasInOrganization('org.read', organization.guid)))
      throw unprocessable('Invalid organization. Ensure the organization exists and you have access to it.')
    await request.access.requireInOrganization('org.manage', organization, 'Organization not found')
    const guid = randomUUID()
    try {
      const space = await db.$transaction(async (tx) => {
        const created = await tx.space.create({
          data: { guid, name: input.name, organizationGuid: organization.guid, ...applyMetadata(undefined, input.metadata) },
        })
        await recordAudit(tx, actorOf(request), {
          type: 'audit.space.create',
          target: { type: 'space', guid, name: input.name },
          spaceGuid: guid,
          organizationGuid: organization.guid,
          data: { request: { name: input.name } },
        })
        return created
      })
      return await reply.code(201).send(presentSpace(space, request.baseUrl))
    } catch (error) {
      throw isUniqueViolation(error) ? unprocessable('Name must be unique per organization') : error
    }
  })

  app.patch<ByGuid>('/v3/spaces/:guid', { config: { permission: 'space.manage' } }, async (request) => {
    const space = await findSpace(db, request, request.params.guid, 'space.manage')
    const input = parseBody(UpdateSpace, request.body)
    try {
      const updated = await db.$transaction(async (tx) => {
        const row = await tx.space.update({
          where: { guid: space.guid },
          data: { ...(input.name === undefined ? {} : { name: input.name }), ...applyMetadata(space, input.metadata) },
        })
        await recordAudit(tx, actorOf(request), {
          type: 'audit.space.update',
          target: { type: 'space', guid: row.guid, name: row.name },
          spaceGuid: row.guid,
          organizationGuid: row.organizationGuid,
          data: { request: { name: row.name } },
        })
        return row
      })
      return presentSpace(updated, request.baseUrl)
    } catch (error) {
      throw isUniqueViolation(error)
        ? unprocessable(
            `Organization '${space.organization.name}' already contains a space with name '${input.name ?? ''}'. Name must be unique per organization`,
          )
        : error
    }
  })

  app.delete<ByGuid>('/v3/spaces/:guid', { config: { permission: 'org.manage' } }, async (request, reply) => {
    const space = await findSpace(db, request, request.params.guid, 'space.read')
    await request.access.requireInOrganization('org.manage', space.organization, 'Space not found')
    return accept(context, request, reply, {
      operation: 'space.delete',
      params: { guid: space.guid },
      resourceType: 'spaces',
      resourceGuid: space.guid,
    })
  })
}
