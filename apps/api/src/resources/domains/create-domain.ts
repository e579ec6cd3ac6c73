import { randomUUID } from 'node:crypto'
import { EMPTY_USAGE, quotaViolations } from '@bloomery/domain'
import { isUniqueViolation, type Domain, type Organization, type Transaction } from '@bloomery/database'
import { recordAudit } from '../../http/audit.js'
import type { Context } from '../../http/context.js'
import { unprocessable } from '../../http/errors.js'
import type { JobActor } from '../../jobs/jobs.js'
import { isReservedDomain } from './reserved-names.js'

export interface NewDomain {
  readonly name: string
  readonly internal: boolean
  /** Owner of a private domain. */
  readonly organization: Organization | undefined
  /** Makes it a domain of TCP routes. */
  readonly routerGroupGuid?: string | undefined
  readonly sharedWith: readonly string[]
  readonly metadata: { readonly labels: Record<string, string>; readonly annotations: Record<string, string> }
}

/** Creates a domain, or throws CfError with the reference's words, which the client compares literally. */
export async function createDomain(
  { db, settings }: Pick<Context, 'db' | 'settings'>,
  actor: JobActor,
  domain: NewDomain,
): Promise<Domain> {
  const { name, organization } = domain
  try {
    return await db.$transaction(async (tx) => {
      await tx.$executeRaw`SELECT pg_advisory_xact_lock(hashtextextended('bloomery:domains', 0))`
      if (await tx.domain.findFirst({ where: { name: { equals: name, mode: 'insensitive' } } })) throw inUse(name)
      if (isReservedDomain(settings, name))
        throw unprocessable(`The domain name "${name}" cannot be created because "${name}" is already reserved by the system`)
      await refuseOverlap(tx, name, organization?.guid ?? null)
      if (organization) await requireDomainQuota(tx, organization)
      const guid = randomUUID()
      const created = await tx.domain.create({
        data: {
          guid,
          name,
          internal: domain.internal,
          organizationGuid: organization?.guid ?? null,
          routerGroupGuid: domain.routerGroupGuid ?? null,
          ...domain.metadata,
          sharings: { create: domain.sharedWith.map((organizationGuid) => ({ organizationGuid })) },
        },
      })
      await recordAudit(tx, actor, {
        type: 'audit.domain.create',
        target: { type: 'domain', guid, name },
        organizationGuid: organization?.guid ?? null,
        data: { request: { name, internal: domain.internal } },
      })
      return created
    })
  } catch (error) {
    throw isUniqueViolation(error) ? inUse(name) : error
  }
}

const inUse = (name: string) => unprocessable(`The domain name "${name}" is already in use`)

/** Nobody gets a name below another organization's private domain, above a domain of somebody else, or one that a route has. */
async function refuseOverlap(tx: Transaction, name: string, owner: string | null): Promise<void> {
  const parents = parentsOf(name)
  const others = { NOT: { organizationGuid: owner } }
  const above = await tx.domain.findFirst({
    where: { name: { in: parents }, organizationGuid: { not: null }, ...(owner === null ? {} : others) },
  })
  const below =
    owner === null
      ? null
      : await tx.domain.findFirst({
          where: { name: { endsWith: `.${name}` }, OR: [{ organizationGuid: null }, { organizationGuid: { not: owner } }] },
        })
  const other = above ?? below
  if (other)
    throw unprocessable(
      `The domain name "${name}" cannot be created because "${other.name}" is already reserved by another domain`,
    )
  const taken = await tx.route.findFirst({
    where: {
      OR: [name, ...parents].flatMap((each) => {
        const at = each.indexOf('.')
        return at > 0 ? [{ host: each.slice(0, at), domain: { name: each.slice(at + 1) } }] : []
      }),
    },
    include: { domain: true },
  })
  if (taken)
    throw unprocessable(
      `The domain name "${name}" cannot be created because "${taken.host}.${taken.domain.name}" is already reserved by a route`,
    )
}

/** "a.b.c.d" → "b.c.d", "c.d" */
function parentsOf(name: string): string[] {
  const labels = name.split('.')
  return labels.slice(1, -1).map((_label, i) => labels.slice(i + 1).join('.'))
}

async function requireDomainQuota(tx: Transaction, organization: Organization): Promise<void> {
  const quota = await tx.organizationQuota.findUniqueOrThrow({ where: { guid: organization.quotaGuid } })
  const domains = await tx.domain.count({ where: { organizationGuid: organization.guid } })
  const broken = quotaViolations('organization', quota, { ...EMPTY_USAGE, domains }, { ...EMPTY_USAGE, domains: domains + 1 })
  if (broken.length > 0)
    throw unprocessable(`The number of private domains exceeds the quota for organization "${organization.name}"`)
}
