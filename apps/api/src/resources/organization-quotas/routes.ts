import { randomUUID } from 'node:crypto'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { OrganizationQuota, Prisma } from '@bloomery/database'
import { z } from 'zod'
import { parseBody, ResourceName, ToMany } from '../../http/bodies.js'
import type { Context } from '../../http/context.js'
import { notFound, unprocessable } from '../../http/errors.js'
import { actorOf } from '../../jobs/routes.js'
import { DomainLimitsInput, presentQuotaLimits, quotaColumns, QuotaLimitsInput } from '../quota-fields.js'
import { applyQuota, auditQuota, quotaNameTaken, quotaRoutes, requireAll, type QuotaKind } from '../quota-routes.js'

const CreateQuota = z.strictObject({
  name: ResourceName,
  ...QuotaLimitsInput,
  domains: DomainLimitsInput,
  relationships: z.strictObject({ organizations: ToMany.optional() }).optional(),
})
const UpdateQuota = z.strictObject({ name: ResourceName.optional(), ...QuotaLimitsInput, domains: DomainLimitsInput })
type QuotaWithOrganizations = OrganizationQuota & { organizations: { guid: string }[] }

/** What whole organizations may use. */
export function organizationQuotaRoutes(app: FastifyInstance, context: Context): void {
  const { db } = context
  const kind = organizationQuotas(context)
  quotaRoutes(app, context, kind)

  app.post('/v3/organization_quotas', { config: { permission: 'admin' } }, async (request, reply) => {
    const input = parseBody(CreateQuota, request.body)
    const quota = { guid: randomUUID(), name: input.name }
    try {
      await db.$transaction(async (tx) => {
        await tx.organizationQuota.create({
          data: { ...quota, ...quotaColumns(input), totalDomains: input.domains?.total_domains ?? null },
        })
        await auditQuota(tx, actorOf(request), 'organization', 'create', quota)
        await applyQuota(tx, actorOf(request), kind, quota, input.relationships?.organizations?.data ?? [])
      })
    } catch (error) {
      throw quotaNameTaken(error, 'organization', input.name)
    }
    return reply.code(201).send(presentQuota(await kind.find(request, quota.guid), request.baseUrl))
  })
}

function organizationQuotas({ db }: Context): QuotaKind<QuotaWithOrganizations, z.infer<typeof UpdateQuota>> {
  const parts = (request: FastifyRequest) => ({
    organizations: { where: request.access.organizations(), select: { guid: true }, orderBy: { createdAt: 'asc' as const } },
  })
  const visible = (request: FastifyRequest): Prisma.OrganizationQuotaWhereInput =>
    request.access.isGlobalReader ? {} : { organizations: { some: request.access.organizations() } }
  const find = async (request: FastifyRequest, guid: string): Promise<QuotaWithOrganizations> => {
    const quota = await db.organizationQuota.findFirst({
      where: { AND: [{ guid }, visible(request)] },
      include: parts(request),
    })
    if (!quota) throw notFound('Organization quota')
    return quota
  }
  return {
    of: 'organization',
    permission: 'admin',
    filters: ['names', 'organization_guids'],
    change: UpdateQuota,
    find,
    findManaged: find,

    page(request, query) {
      const names = query.values('names')
      const organizationGuids = query.values('organization_guids')
      const where: Prisma.OrganizationQuotaWhereInput = {
        AND: [
          visible(request),
          ...(query.common as Prisma.OrganizationQuotaWhereInput[]),
          ...(names ? [{ name: { in: names } }] : []),
          ...(organizationGuids ? [{ organizations: { some: { guid: { in: organizationGuids } } } }] : []),
        ],
      }
      return [
        query,
        (window) => db.organizationQuota.findMany({ where, orderBy: query.orderBy, include: parts(request), ...window }),
        () => db.organizationQuota.count({ where }),
      ]
    },

    update: (tx, guid, input) =>
      tx.organizationQuota.update({
        where: { guid },
        data: {
          ...quotaColumns(input),
          ...(input.name === undefined ? {} : { name: input.name }),
          ...(input.domains?.total_domains === undefined ? {} : { totalDomains: input.domains.total_domains }),
        },
      }),

    members: ({ organizations }) => organizations,

    async apply(tx, quota, guids) {
      const where = { guid: { in: [...guids] } }
      const found = await tx.organization.findMany({ where })
      requireAll('Organizations', guids, found)
      await tx.organization.updateMany({ where, data: { quotaGuid: quota.guid } })
      return found
    },

    take: (tx, guid) => tx.organizationQuota.findUnique({ where: { guid } }),

    async requireRemovable(on, guid) {
      const quota = await on.organizationQuota.findUnique({ where: { guid } })
      if (quota?.isDefault) throw unprocessable('This quota is the default for new organizations and cannot be deleted.')
      if ((await on.organization.count({ where: { quotaGuid: guid } })) > 0)
        throw unprocessable(
          'This quota is applied to one or more organizations. Apply different quotas to those organizations before deleting.',
        )
    },

    remove: (tx, guid) => tx.organizationQuota.delete({ where: { guid } }),
    present: presentQuota,
  }
}

const presentQuota = (quota: QuotaWithOrganizations, baseUrl: string) => ({
  guid: quota.guid,
  created_at: quota.createdAt.toISOString(),
  updated_at: quota.updatedAt.toISOString(),
  name: quota.name,
  ...presentQuotaLimits(quota),
  domains: { total_domains: quota.totalDomains },
  relationships: { organizations: { data: quota.organizations.map(({ guid }) => ({ guid })) } },
  links: { self: { href: `${baseUrl}/v3/organization_quotas/${quota.guid}` } },
})
