import { randomUUID } from 'node:crypto'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { isUniqueViolation, type OrganizationQuota, type Prisma, type Transaction } from '@bloomery/database'
import { z } from 'zod'
import { recordAudit } from '../../http/audit.js'
import { parseBody, ResourceName, ToMany } from '../../http/bodies.js'
import type { Context } from '../../http/context.js'
import { notFound, unprocessable } from '../../http/errors.js'
import { parseListQuery, presentList, readPage } from '../../http/lists.js'
import type { JobActor } from '../../jobs/jobs.js'
import { accept, actorOf } from '../../jobs/routes.js'
import { DomainLimitsInput, presentQuotaLimits, quotaColumns, QuotaLimitsInput } from '../quota-fields.js'

const CreateQuota = z.strictObject({
  name: ResourceName,
  ...QuotaLimitsInput,
  domains: DomainLimitsInput,
  relationships: z.strictObject({ organizations: ToMany.optional() }).optional(),
})
const UpdateQuota = z.strictObject({ name: ResourceName.optional(), ...QuotaLimitsInput, domains: DomainLimitsInput })
const DeleteQuotaParams = z.object({ guid: z.string() })
interface ByGuid {
  Params: { guid: string }
}
type QuotaWithOrganizations = OrganizationQuota & { organizations: { guid: string }[] }

export function organizationQuotaRoutes(app: FastifyInstance, context: Context): void {
  const { db } = context
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

  app.get('/v3/organization_quotas', { config: { permission: 'authenticated' } }, async (request) => {
    const query = parseListQuery(request, { filters: ['names', 'organization_guids'], orderBy: { name: 'name' }, labels: false })
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
    const page = await readPage(
      query,
      (window) => db.organizationQuota.findMany({ where, orderBy: query.orderBy, include: parts(request), ...window }),
      () => db.organizationQuota.count({ where }),
    )
    return presentList(request, query, page, (quota) => presentQuota(quota, request.baseUrl))
  })

  app.get<ByGuid>('/v3/organization_quotas/:guid', { config: { permission: 'authenticated' } }, async (request) =>
    presentQuota(await find(request, request.params.guid), request.baseUrl),
  )

  app.post('/v3/organization_quotas', { config: { permission: 'admin' } }, async (request, reply) => {
    const input = parseBody(CreateQuota, request.body)
    const guid = randomUUID()
    try {
      await db.$transaction(async (tx) => {
        await tx.organizationQuota.create({
          data: { guid, name: input.name, ...quotaColumns(input), totalDomains: input.domains?.total_domains ?? null },
        })
        await audit(tx, actorOf(request), 'create', { guid, name: input.name })
        await apply(tx, actorOf(request), { guid, name: input.name }, input.relationships?.organizations?.data ?? [])
      })
    } catch (error) {
      throw nameTaken(error, input.name)
    }
    return reply.code(201).send(presentQuota(await find(request, guid), request.baseUrl))
  })

  app.patch<ByGuid>('/v3/organization_quotas/:guid', { config: { permission: 'admin' } }, async (request) => {
    const quota = await find(request, request.params.guid)
    const input = parseBody(UpdateQuota, request.body)
    try {
      await db.$transaction(async (tx) => {
        await tx.organizationQuota.update({
          where: { guid: quota.guid },
          data: {
            ...quotaColumns(input),
            ...(input.name === undefined ? {} : { name: input.name }),
            ...(input.domains?.total_domains === undefined ? {} : { totalDomains: input.domains.total_domains }),
          },
        })
        await audit(tx, actorOf(request), 'update', { guid: quota.guid, name: input.name ?? quota.name })
      })
    } catch (error) {
      throw nameTaken(error, input.name ?? '')
    }
    return presentQuota(await find(request, quota.guid), request.baseUrl)
  })

  app.post<ByGuid>(
    '/v3/organization_quotas/:guid/relationships/organizations',
    { config: { permission: 'admin' } },
    async (request) => {
      const quota = await find(request, request.params.guid)
      const { data } = parseBody(ToMany, request.body)
      await db.$transaction((tx) => apply(tx, actorOf(request), quota, data))
      const { organizations } = await find(request, quota.guid)
      const self = `${request.baseUrl}/v3/organization_quotas/${quota.guid}/relationships/organizations`
      return { data: organizations.map(({ guid }) => ({ guid })), links: { self: { href: self } } }
    },
  )

  context.jobs.register('organization_quota.delete', DeleteQuotaParams, async ({ params: { guid }, actor }) => {
    await db.$transaction(async (tx) => {
      const quota = await tx.organizationQuota.findUnique({ where: { guid } })
      if (!quota) return
      await requireUnused(tx, guid)
      await tx.organizationQuota.delete({ where: { guid } })
      await audit(tx, actor, 'delete', quota)
    })
  })
  app.delete<ByGuid>('/v3/organization_quotas/:guid', { config: { permission: 'admin' } }, async (request, reply) => {
    const quota = await find(request, request.params.guid)
    if (quota.isDefault) throw unprocessable('This quota is the default for new organizations and cannot be deleted.')
    await requireUnused(db, quota.guid)
    return accept(context, request, reply, {
      operation: 'organization_quota.delete',
      params: { guid: quota.guid },
      resourceType: 'organization_quotas',
      resourceGuid: quota.guid,
    })
  })
}

async function requireUnused(db: Pick<Transaction, 'organization'>, quotaGuid: string): Promise<void> {
  if ((await db.organization.count({ where: { quotaGuid } })) > 0)
    throw unprocessable(
      'This quota is applied to one or more organizations. Apply different quotas to those organizations before deleting.',
    )
}

async function apply(
  tx: Transaction,
  actor: JobActor,
  quota: { guid: string; name: string },
  wanted: readonly { guid: string }[],
): Promise<void> {
  const guids = wanted.map(({ guid }) => guid)
  const found = await tx.organization.findMany({ where: { guid: { in: guids } } })
  const missing = guids.filter((guid) => !found.some((each) => each.guid === guid))
  if (missing.length > 0)
    throw unprocessable(`Organizations with guids ${JSON.stringify(missing)} do not exist, or you do not have access to them.`)
  await tx.organization.updateMany({ where: { guid: { in: guids } }, data: { quotaGuid: quota.guid } })
  for (const organization of found) await audit(tx, actor, 'apply', quota, organization.guid)
}

const audit = (
  tx: Transaction,
  actor: JobActor,
  act: 'create' | 'update' | 'apply' | 'delete',
  { guid, name }: { guid: string; name: string },
  organizationGuid: string | null = null,
): Promise<void> =>
  recordAudit(tx, actor, {
    type: `audit.organization_quota.${act}`,
    target: { type: 'organization_quota', guid, name },
    organizationGuid,
  })

const nameTaken = (error: unknown, name: string): unknown =>
  isUniqueViolation(error) ? unprocessable(`Organization Quota '${name}' already exists.`) : error

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
