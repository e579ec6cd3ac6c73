import {
  processViolations,
  quotaViolations,
  usageOfProcesses,
  type CountedProcess,
  type QuotaLimits,
  type QuotaUsage,
  type QuotaViolation,
} from '@bloomery/domain'
import type { OrganizationQuota, SpaceQuota, Transaction } from '@bloomery/database'
import { unprocessable } from '../http/errors.js'
import type { AppInSpace } from '../resources/apps/find-app.js'

/**
 * Refuses a change of what this app runs that would break a quota of its organization or space. Changes in one organization are
 * judged one after another. `before` and `after`: the app's running processes; none while it is stopped.
 */
export async function requireProcessQuota(
  tx: Transaction,
  app: AppInSpace,
  before: readonly CountedProcess[],
  after: readonly CountedProcess[],
): Promise<void> {
  const violations = await judge(tx, app, (others) => ({
    before: sum(others, usageOfProcesses(before)),
    after: sum(others, usageOfProcesses(after)),
    each: after,
  }))
  if (violations.length > 0) throw unprocessable(describe(violations[0] as QuotaViolation))
}

/** Staging needs its memory for a while; it must fit beside what runs. */
export async function requireStagingQuota(tx: Transaction, app: AppInSpace, memoryMb: number): Promise<void> {
  const own = app.state === 'STARTED' ? await tx.process.findMany({ where: { appGuid: app.guid } }) : []
  const violations = await judge(tx, app, (others) => {
    const used = sum(others, usageOfProcesses(own))
    return { before: used, after: { ...used, memoryMb: used.memoryMb + memoryMb }, each: [] }
  })
  const [violation] = violations
  if (violation) throw unprocessable(`Staging needs ${memoryMb} MB of memory. ${describe(violation)}`)
}

async function judge(
  tx: Transaction,
  app: AppInSpace,
  change: (others: QuotaUsage) => { before: QuotaUsage; after: QuotaUsage; each: readonly CountedProcess[] },
): Promise<QuotaViolation[]> {
  const { organizationGuid } = app.space
  await tx.$executeRaw`SELECT pg_advisory_xact_lock(hashtextextended(${`bloomery:quota:${organizationGuid}`}, 0))`
  const organizationQuota = await tx.organizationQuota.findUnique({ where: { guid: app.space.organization.quotaGuid } })
  const spaceQuota =
    app.space.quotaGuid === null ? null : await tx.spaceQuota.findUnique({ where: { guid: app.space.quotaGuid } })
  const violations: QuotaViolation[] = []
  const scopes = [
    ['organization', organizationQuota, { space: { organizationGuid } }],
    ['space', spaceQuota, { spaceGuid: app.spaceGuid }],
  ] as const
  for (const [scope, quota, where] of scopes) {
    if (!quota) continue
    const limits = limitsOf(quota)
    const others = await tx.process.findMany({
      where: { app: { ...where, state: 'STARTED', guid: { not: app.guid } } },
      select: { instances: true, memoryMb: true, logRateLimit: true },
    })
    const { before, after, each } = change(usageOfProcesses(others))
    violations.push(...quotaViolations(scope, limits, before, after))
    for (const process of each) violations.push(...processViolations(scope, limits, process))
  }
  return violations
}

const limitsOf = (quota: OrganizationQuota | SpaceQuota): QuotaLimits => ({ ...quota })
const sum = (a: QuotaUsage, b: QuotaUsage): QuotaUsage => ({
  ...a,
  memoryMb: a.memoryMb + b.memoryMb,
  instances: a.instances + b.instances,
  logRateBytes: a.logRateBytes + b.logRateBytes,
})

const UNITS: Partial<Record<keyof QuotaLimits, string>> = {
  totalMemoryMb: ' MB',
  perProcessMemoryMb: ' MB per instance',
  totalInstances: ' instances',
  logRateLimitBytes: ' bytes per second',
}

function describe({ scope, limit, phrase, allowed, needed }: QuotaViolation): string {
  const unit = UNITS[limit] ?? ''
  return needed < 0n
    ? `${phrase}: set a limit, since the ${scope}'s quota allows ${allowed}${unit}.`
    : `${phrase}: the ${scope}'s quota allows ${allowed}${unit}, and ${needed} would be needed. Ask for less, free something, or have the quota raised.`
}
