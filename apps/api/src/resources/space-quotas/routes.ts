import { randomUUID } from 'node:crypto'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Organization, Prisma, SpaceQuota } from '@bloomery/database'
import { z } from 'zod'
import { parseBody, ResourceName, ToMany, ToOne } from '../../http/bodies.js'
import type { Context } from '../../http/context.js'
import { notFound, unprocessable } from '../../http/errors.js'
import { actorOf } from '../../jobs/routes.js'
import { presentQuotaLimits, quotaColumns, QuotaLimitsInput } from '../quota-fields.js'
import { applyQuota, auditQuota, quotaNameTaken, quotaRoutes, requireAll, type QuotaKind } from '../quota-routes.js'

const CreateQuota = z.strictObject({
  name: ResourceName,
  ...QuotaLimitsInput,
  relationships: z.strictObject({ organization: ToOne, spaces: ToMany.optional() }),
})
const UpdateQuota = z.strictObject({ name: ResourceName.optional(), ...QuotaLimitsInput })
interface BySpace {
  Params: { guid: string; space: string }
}
type QuotaParts = SpaceQuota & { organization: Organization; spaces: { guid: string }[] }

/** What spaces may use of what their organization may. */
export function spaceQuotaRoutes(app: FastifyInstance, context: Context): void {
  const { db } = context
  const kind = spaceQuotas(context)
  quotaRoutes(app, context, kind)

  app.post('/v3/space_quotas', { config: { permission: 'org.manage' } }, async (request, reply) => {
    const input = parseBody(CreateQuota, request.body)
    const organizationGuid = input.relationships.organization.data.guid
    const organization = await db.organization.findUnique({ where: { guid: organizationGuid } })
    if (!organization || !(await request.access.hasInOrganization('org.read', organizationGuid)))
      throw unprocessable(`Organization with guid '${organizationGuid}' does not exist, or you do not have access to it.`)
    await request.access.requireInOrganization('org.manage', organization, 'Organization not found')
    const quota = { guid: randomUUID(), name: input.name, organizationGuid }
    try {
      await db.$transaction(async (tx) => {
        await tx.spaceQuota.create({ data: { ...quota, ...quotaColumns(input) } })
        await auditQuota(tx, actorOf(request), 'space', 'create', quota)
        await applyQuota(tx, actorOf(request), kind, quota, input.relationships.spaces?.data ?? [])
      })
    } catch (error) {
      throw quotaNameTaken(error, 'space', input.name)
    }
    return reply.code(201).send(presentQuota(await kind.find(request, quota.guid), request.baseUrl))
  })

  app.delete<BySpace>(
    '/v3/space_quotas/:guid/relationships/spaces/:space',
    { config: { permission: 'org.manage' } },
    async (request, reply) => {
      const quota = await kind.findManaged(request, request.params.guid)
      const spaceGuid = request.params.space
      await db.$transaction(async (tx) => {
        const { count } = await tx.space.updateMany({
          where: { guid: spaceGuid, quotaGuid: quota.guid },
          data: { quotaGuid: null },
        })
        if (count === 0)
          throw unprocessable(
            `Unable to remove quota from space with guid '${spaceGuid}'. Ensure the space quota is applied to this space.`,
          )
        await auditQuota(tx, actorOf(request), 'space', 'remove', quota, spaceGuid)
      })
      return reply.code(204).send()
    },
  )
}

function spaceQuotas({ db }: Context): QuotaKind<QuotaParts, z.infer<typeof UpdateQuota>> {
  const parts = (request: FastifyRequest) => ({
    organization: true,
    spaces: { where: request.access.spaces(), select: { guid: true }, orderBy: { createdAt: 'asc' as const } },
  })
  /** An organization's managers see all of its space quotas, others those of their spaces. */
  const visible = (request: FastifyRequest): Prisma.SpaceQuotaWhereInput =>
    request.access.isGlobalReader
      ? {}
      : {
          OR: [
            { organization: { roles: { some: { userGuid: request.principal.guid, type: 'organization_manager' } } } },
            { spaces: { some: request.access.spaces() } },
          ],
        }
  const find = async (request: FastifyRequest, guid: string): Promise<QuotaParts> => {
    const quota = await db.spaceQuota.findFirst({ where: { AND: [{ guid }, visible(request)] }, include: parts(request) })
    if (!quota) throw notFound('Space quota')
    return quota
  }
  return {
    of: 'space',
    permission: 'org.manage',
    filters: ['names', 'organization_guids', 'space_guids'],
    change: UpdateQuota,
    find,

    async findManaged(request, guid) {
      const quota = await find(request, guid)
      await request.access.requireInOrganization('org.manage', quota.organization, 'Space quota not found')
      return quota
    },

    page(request, query) {
      const names = query.values('names')
      const organizationGuids = query.values('organization_guids')
      const spaceGuids = query.values('space_guids')
      const where: Prisma.SpaceQuotaWhereInput = {
        AND: [
          visible(request),
          ...(query.common as Prisma.SpaceQuotaWhereInput[]),
          ...(names ? [{ name: { in: names } }] : []),
          ...(organizationGuids ? [{ organizationGuid: { in: organizationGuids } }] : []),
          ...(spaceGuids ? [{ spaces: { some: { guid: { in: spaceGuids } } } }] : []),
        ],
      }
      return [
        query,
        (window) => db.spaceQuota.findMany({ where, orderBy: query.orderBy, include: parts(request), ...window }),
        () => db.spaceQuota.count({ where }),
      ]
    },

    update: (tx, guid, input) =>
      tx.spaceQuota.update({
        where: { guid },
        data: { ...quotaColumns(input), ...(input.name === undefined ? {} : { name: input.name }) },
      }),

    members: ({ spaces }) => spaces,

    async apply(tx, quota, guids) {
      const where = { guid: { in: [...guids] } }
      const found = await tx.space.findMany({ where })
      requireAll('Spaces', guids, found)
      if (found.some((space) => space.organizationGuid !== quota.organizationGuid))
        throw unprocessable('Space quotas cannot be applied outside of their owning organization.')
      await tx.space.updateMany({ where, data: { quotaGuid: quota.guid } })
      return found
    },

    take: (tx, guid) => tx.spaceQuota.findUnique({ where: { guid } }),

    async requireRemovable(on, guid) {
      if ((await on.space.count({ where: { quotaGuid: guid } })) > 0)
        throw unprocessable('This quota is applied to one or more spaces. Remove this quota from all spaces before deleting.')
    },

    remove: (tx, guid) => tx.spaceQuota.delete({ where: { guid } }),
    present: presentQuota,
  }
}

const presentQuota = (quota: QuotaParts, baseUrl: string) => ({
  guid: quota.guid,
  created_at: quota.createdAt.toISOString(),
  updated_at: quota.updatedAt.toISOString(),
  name: quota.name,
  ...presentQuotaLimits(quota),
  relationships: {
    organization: { data: { guid: quota.organizationGuid } },
    spaces: { data: quota.spaces.map(({ guid }) => ({ guid })) },
  },
  links: {
    self: { href: `${baseUrl}/v3/space_quotas/${quota.guid}` },
    organization: { href: `${baseUrl}/v3/organizations/${quota.organizationGuid}` },
  },
})
