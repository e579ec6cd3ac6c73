import { randomUUID } from 'node:crypto'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { isUniqueViolation, type Organization, type Prisma, type SpaceQuota, type Transaction } from '@bloomery/database'
import { z } from 'zod'
import { recordAudit } from '../../http/audit.js'
import { parseBody, ResourceName, ToMany, ToOne } from '../../http/bodies.js'
import type { Context } from '../../http/context.js'
import { notFound, unprocessable } from '../../http/errors.js'
import { parseListQuery, presentList, readPage } from '../../http/lists.js'
import type { JobActor } from '../../jobs/jobs.js'
import { accept, actorOf } from '../../jobs/routes.js'
import { presentQuotaLimits, quotaColumns, QuotaLimitsInput } from '../quota-fields.js'

const CreateQuota = z.strictObject({
  name: ResourceName,
  ...QuotaLimitsInput,
  relationships: z.strictObject({ organization: ToOne, spaces: ToMany.optional() }),
})
const UpdateQuota = z.strictObject({ name: ResourceName.optional(), ...QuotaLimitsInput })
const DeleteQuotaParams = z.object({ guid: z.string() })
interface ByGuid {
  Params: { guid: string }
}
interface BySpace {
  Params: { guid: string; space: string }
}
type QuotaParts = SpaceQuota & { organization: Organization; spaces: { guid: string }[] }

export function spaceQuotaRoutes(app: FastifyInstance, context: Context): void {
  const { db } = context
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
  const findManaged = async (request: FastifyRequest, guid: string): Promise<QuotaParts> => {
    const quota = await find(request, guid)
    await request.access.requireInOrganization('org.manage', quota.organization, 'Space quota not found')
    return quota
  }

  app.get('/v3/space_quotas', { config: { permission: 'authenticated' } }, async (request) => {
    const query = parseListQuery(request, {
      filters: ['names', 'organization_guids', 'space_guids'],
      orderBy: { name: 'name' },
      labels: false,
    })
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
    const page = await readPage(
      query,
      (window) => db.spaceQuota.findMany({ where, orderBy: query.orderBy, include: parts(request), ...window }),
      () => db.spaceQuota.count({ where }),
    )
    return presentList(request, query, page, (quota) => presentQuota(quota, request.baseUrl))
  })

  app.get<ByGuid>('/v3/space_quotas/:guid', { config: { permission: 'authenticated' } }, async (request) =>
    presentQuota(await find(request, request.params.guid), request.baseUrl),
  )

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
        await audit(tx, actorOf(request), 'create', quota)
        await apply(tx, actorOf(request), quota, input.relationships.spaces?.data ?? [])
      })
    } catch (error) {
      throw nameTaken(error, input.name)
    }
    return reply.code(201).send(presentQuota(await find(request, quota.guid), request.baseUrl))
  })

  app.patch<ByGuid>('/v3/space_quotas/:guid', { config: { permission: 'org.manage' } }, async (request) => {
    const quota = await findManaged(request, request.params.guid)
    const input = parseBody(UpdateQuota, request.body)
    try {
      await db.$transaction(async (tx) => {
        await tx.spaceQuota.update({
          where: { guid: quota.guid },
          data: { ...quotaColumns(input), ...(input.name === undefined ? {} : { name: input.name }) },
        })
        await audit(tx, actorOf(request), 'update', { ...quota, name: input.name ?? quota.name })
      })
    } catch (error) {
      throw nameTaken(error, input.name ?? '')
    }
    return presentQuota(await find(request, quota.guid), request.baseUrl)
  })

  app.post<ByGuid>('/v3/space_quotas/:guid/relationships/spaces', { config: { permission: 'org.manage' } }, async (request) => {
    const quota = await findManaged(request, request.params.guid)
    const { data } = parseBody(ToMany, request.body)
    await db.$transaction((tx) => apply(tx, actorOf(request), quota, data))
    const { spaces } = await find(request, quota.guid)
    const self = `${request.baseUrl}/v3/space_quotas/${quota.guid}/relationships/spaces`
    return { data: spaces.map(({ guid }) => ({ guid })), links: { self: { href: self } } }
  })

  app.delete<BySpace>(
    '/v3/space_quotas/:guid/relationships/spaces/:space',
    { config: { permission: 'org.manage' } },
    async (request, reply) => {
      const quota = await findManaged(request, request.params.guid)
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
        await audit(tx, actorOf(request), 'remove', quota, spaceGuid)
      })
      return reply.code(204).send()
    },
  )

  context.jobs.register('space_quota.delete', DeleteQuotaParams, async ({ params: { guid }, actor }) => {
    await db.$transaction(async (tx) => {
      const quota = await tx.spaceQuota.findUnique({ where: { guid } })
      if (!quota) return
      await requireUnused(tx, guid)
      await tx.spaceQuota.delete({ where: { guid } })
      await audit(tx, actor, 'delete', quota)
    })
  })
  app.delete<ByGuid>('/v3/space_quotas/:guid', { config: { permission: 'org.manage' } }, async (request, reply) => {
    const quota = await findManaged(request, request.params.guid)
    await requireUnused(db, quota.guid)
    return accept(context, request, reply, {
      operation: 'space_quota.delete',
      params: { guid: quota.guid },
      resourceType: 'space_quotas',
      resourceGuid: quota.guid,
    })
  })
}

async function requireUnused(db: Pick<Transaction, 'space'>, quotaGuid: string): Promise<void> {
  if ((await db.space.count({ where: { quotaGuid } })) > 0)
    throw unprocessable('This quota is applied to one or more spaces. Remove this quota from all spaces before deleting.')
}

interface AuditedQuota {
  readonly guid: string
  readonly name: string
  readonly organizationGuid: string
}

async function apply(tx: Transaction, actor: JobActor, quota: AuditedQuota, wanted: readonly { guid: string }[]): Promise<void> {
  const guids = wanted.map(({ guid }) => guid)
  const found = await tx.space.findMany({ where: { guid: { in: guids } } })
  const missing = guids.filter((guid) => !found.some((each) => each.guid === guid))
  if (missing.length > 0)
    throw unprocessable(`Spaces with guids ${JSON.stringify(missing)} do not exist, or you do not have access to them.`)
  if (found.some((space) => space.organizationGuid !== quota.organizationGuid))
    throw unprocessable('Space quotas cannot be applied outside of their owning organization.')
  await tx.space.updateMany({ where: { guid: { in: guids } }, data: { quotaGuid: quota.guid } })
  for (const space of found) await audit(tx, actor, 'apply', quota, space.guid)
}

const audit = (
  tx: Transaction,
  actor: JobActor,
  act: 'create' | 'update' | 'apply' | 'remove' | 'delete',
  { guid, name, organizationGuid }: AuditedQuota,
  spaceGuid: string | null = null,
): Promise<void> =>
  recordAudit(tx, actor, {
    type: `audit.space_quota.${act}`,
    target: { type: 'space_quota', guid, name },
    spaceGuid,
    organizationGuid,
  })

const nameTaken = (error: unknown, name: string): unknown =>
  isUniqueViolation(error) ? unprocessable(`Space Quota '${name}' already exists.`) : error

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
