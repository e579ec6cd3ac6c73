import type { FastifyInstance, FastifyRequest } from 'fastify'
import { isUniqueViolation, type Transaction } from '@bloomery/database'
import { z } from 'zod'
import { recordAudit } from '../http/audit.js'
import { parseBody, ToMany } from '../http/bodies.js'
import type { Context } from '../http/context.js'
import { unprocessable } from '../http/errors.js'
import { parseListQuery, presentList, readPage, type ListQuery } from '../http/lists.js'
import type { Permission } from '../http/permissions.js'
import type { JobActor } from '../jobs/jobs.js'
import { accept, actorOf } from '../jobs/routes.js'

interface ByGuid {
  Params: { guid: string }
}
/** What events tell of a quota. */
interface NamedQuota {
  readonly guid: string
  readonly name: string
  /** Of a space quota: where it belongs. */
  readonly organizationGuid?: string
}

/** What is particular to the quotas of organizations, or to those of spaces. */
export interface QuotaKind<Quota extends NamedQuota, Change extends { readonly name?: string | undefined }> {
  readonly of: 'organization' | 'space'
  /** Who may change one; `findManaged` has the last word. */
  readonly permission: Permission
  readonly filters: readonly string[]
  readonly change: z.ZodType<Change>
  /** Throws 404 for what the caller may not see. */
  find(request: FastifyRequest, guid: string): Promise<Quota>
  findManaged(request: FastifyRequest, guid: string): Promise<Quota>
  page(request: FastifyRequest, query: ListQuery): Parameters<typeof readPage<Quota>>
  update(tx: Transaction, guid: string, change: Change): Promise<unknown>
  /** Those that it is applied to, as far as the caller sees them. */
  members(quota: Quota): readonly { readonly guid: string }[]
  /** Applies it; throws what speaks against that. Answers to whom. */
  apply(tx: Transaction, quota: NamedQuota, guids: readonly string[]): Promise<readonly { readonly guid: string }[]>
  /** Takes the row of one that has not been deleted yet. */
  take(tx: Transaction, guid: string): Promise<NamedQuota | null>
  /** Throws while it is applied to anything, or where it may not go. */
  requireRemovable(on: Transaction | Context['db'], guid: string): Promise<void>
  remove(tx: Transaction, guid: string): Promise<unknown>
  present(quota: Quota, baseUrl: string): unknown
}

const DeleteQuotaParams = z.object({ guid: z.string() })

/** All that both kinds of quota have in common: lists, changes, to whom they apply, and their end. How one begins is the kind's own. */
export function quotaRoutes<Quota extends NamedQuota, Change extends { readonly name?: string | undefined }>(
  app: FastifyInstance,
  context: Context,
  kind: QuotaKind<Quota, Change>,
): void {
  const { db } = context
  const { of, permission } = kind
  const path = `/v3/${of}_quotas`
  const change = { config: { permission } }

  app.get(path, { config: { permission: 'authenticated' } }, async (request) => {
    const query = parseListQuery(request, { filters: kind.filters, orderBy: { name: 'name' }, labels: false })
    const page = await readPage(...kind.page(request, query))
    return presentList(request, query, page, (quota) => kind.present(quota, request.baseUrl))
  })

  app.get<ByGuid>(`${path}/:guid`, { config: { permission: 'authenticated' } }, async (request) =>
    kind.present(await kind.find(request, request.params.guid), request.baseUrl),
  )

  app.patch<ByGuid>(`${path}/:guid`, change, async (request) => {
    const quota = await kind.findManaged(request, request.params.guid)
    const input = parseBody(kind.change, request.body)
    try {
      await db.$transaction(async (tx) => {
        await kind.update(tx, quota.guid, input)
        await auditQuota(tx, actorOf(request), of, 'update', { ...quota, name: input.name ?? quota.name })
      })
    } catch (error) {
      throw quotaNameTaken(error, of, input.name ?? '')
    }
    return kind.present(await kind.find(request, quota.guid), request.baseUrl)
  })

  app.post<ByGuid>(`${path}/:guid/relationships/${of}s`, change, async (request) => {
    const quota = await kind.findManaged(request, request.params.guid)
    const { data } = parseBody(ToMany, request.body)
    await db.$transaction((tx) => applyQuota(tx, actorOf(request), kind, quota, data))
    const members = kind.members(await kind.find(request, quota.guid))
    const self = `${request.baseUrl}${path}/${quota.guid}/relationships/${of}s`
    return { data: members.map(({ guid }) => ({ guid })), links: { self: { href: self } } }
  })

  context.jobs.register(`${of}_quota.delete`, DeleteQuotaParams, async ({ params: { guid }, actor }) => {
    await db.$transaction(async (tx) => {
      const quota = await kind.take(tx, guid)
      if (!quota) return
      await kind.requireRemovable(tx, guid)
      await kind.remove(tx, guid)
      await auditQuota(tx, actor, of, 'delete', quota)
    })
  })
  app.delete<ByGuid>(`${path}/:guid`, change, async (request, reply) => {
    const quota = await kind.findManaged(request, request.params.guid)
    await kind.requireRemovable(db, quota.guid)
    return accept(context, request, reply, {
      operation: `${of}_quota.delete`,
      params: { guid: quota.guid },
      resourceType: `${of}_quotas`,
      resourceGuid: quota.guid,
    })
  })
}

/** Applies a quota to those that are named, each with an event. */
export async function applyQuota(
  tx: Transaction,
  actor: JobActor,
  kind: Pick<QuotaKind<never, never>, 'of' | 'apply'>,
  quota: NamedQuota,
  wanted: readonly { readonly guid: string }[],
): Promise<void> {
  const guids = wanted.map(({ guid }) => guid)
  const found = await kind.apply(tx, quota, guids)
  for (const { guid } of found) await auditQuota(tx, actor, kind.of, 'apply', quota, guid)
}

/** Refuses what is not there, in Cloud Foundry's words. */
export function requireAll(what: string, guids: readonly string[], found: readonly { readonly guid: string }[]): void {
  const missing = guids.filter((guid) => !found.some((each) => each.guid === guid))
  if (missing.length > 0)
    throw unprocessable(`${what} with guids ${JSON.stringify(missing)} do not exist, or you do not have access to them.`)
}

/** `member`: whom it was applied to or taken from. */
export const auditQuota = (
  tx: Transaction,
  actor: JobActor,
  of: 'organization' | 'space',
  act: 'create' | 'update' | 'apply' | 'remove' | 'delete',
  { guid, name, organizationGuid }: NamedQuota,
  member: string | null = null,
): Promise<void> =>
  recordAudit(tx, actor, {
    type: `audit.${of}_quota.${act}`,
    target: { type: `${of}_quota`, guid, name },
    ...(of === 'space' ? { spaceGuid: member, organizationGuid: organizationGuid ?? null } : { organizationGuid: member }),
  })

export const quotaNameTaken = (error: unknown, of: 'organization' | 'space', name: string): unknown =>
  isUniqueViolation(error)
    ? unprocessable(`${of === 'organization' ? 'Organization' : 'Space'} Quota '${name}' already exists.`)
    : error
