import { randomUUID } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { type Prisma, Prisma as Db, type Transaction } from '@bloomery/database'
import { parameterProblems, PlanSchemas } from '@bloomery/osb'
import type { Context } from '../../http/context.js'
import { unprocessable } from '../../http/errors.js'
import { applyMetadata } from '../../http/metadata.js'
import { actorOf } from '../../jobs/routes.js'
import { isManaged } from '../../service-bindings/bound-instance.js'
import { acceptOperation } from '../../service-operations/accept-operation.js'
import { newMitigation } from '../../service-operations/orphan-mitigator.js'
import type { PlanOfBroker } from '../service-plans/plan-access.js'
import type { SpaceInOrganization } from '../spaces/find-space.js'
import type { CreateParams } from './create-handler.js'
import { findUsablePlan, requireAvailableBroker } from './find-plan.js'
import { INSTANCE_PARTS } from './find-service-instance.js'
import type { CreateManaged } from './inputs.js'
import { isCreateFailed, lastOperation } from './last-operation.js'
import { requireInstanceQuota, requirePaidPlansAllowed } from './managed-quota.js'
import { targetOf } from './managed-request.js'

/** Writes an instance that its broker is to make, and answers with the job that tells how it goes. */
export async function createManaged(
  context: Context,
  request: FastifyRequest,
  reply: FastifyReply,
  input: CreateManaged,
  space: SpaceInOrganization,
): Promise<FastifyReply> {
  const plan = await findUsablePlan(context.db, request, input.relationships.service_plan.data.guid, space)
  requireAvailableBroker(plan)
  requireValidParameters(context, plan, 'create', input.parameters)
  return acceptOperation(context, request, reply, async (tx) => {
    await requirePaidPlansAllowed(tx, space, plan)
    await replaceFailed(tx, context, space, input.name)
    await requireFreeName(tx, space, input.name)
    await requireInstanceQuota(tx, space)
    const guid = randomUUID()
    const now = context.now()
    await tx.serviceInstance.create({
      data: {
        guid,
        name: input.name,
        type: 'managed',
        spaceGuid: space.guid,
        planGuid: plan.guid,
        tags: input.tags ?? [],
        maintenanceInfo: plan.maintenanceInfo === null ? Db.DbNull : (plan.maintenanceInfo as Prisma.InputJsonObject),
        lastOperation: { ...lastOperation('create', 'initial', '', now, now) },
        ...applyMetadata(undefined, input.metadata),
      },
    })
    const params: CreateParams = { parameters: input.parameters ?? undefined, audited: { ...input } }
    return context.operations.enqueue(tx, {
      resourceType: 'instance',
      resourceGuid: guid,
      serviceInstanceGuid: guid,
      type: 'create',
      brokerGuid: plan.offering.brokerGuid,
      params,
      actor: actorOf(request),
      job: { operation: 'service_instance.create', resourceType: 'service_instances' },
    })
  })
}

/** A failed predecessor of the same name goes; what its broker may have of it is removed there. */
async function replaceFailed(
  tx: Transaction,
  { operations }: Pick<Context, 'operations'>,
  space: SpaceInOrganization,
  name: string,
): Promise<void> {
  const found = await tx.serviceInstance.findUnique({
    where: { spaceGuid_name: { spaceGuid: space.guid, name } },
    include: { ...INSTANCE_PARTS, _count: { select: { bindings: true, routeBindings: true } } },
  })
  if (!found || !isManaged(found) || !isCreateFailed(found)) return
  if (found._count.bindings + found._count.routeBindings > 0) return
  await operations.cancelAll(tx, found.guid, unprocessable(`The service instance ${name} is replaced.`))
  await tx.serviceInstance.delete({ where: { guid: found.guid } })
  await tx.orphanMitigation.create({ data: newMitigation(targetOf(found), 'replaced by an instance of the same name') })
}

/** Names are unique in a space, those of instances that are shared into it included. */
export async function requireFreeName(
  tx: Transaction,
  space: { readonly guid: string },
  name: string,
  own?: string,
): Promise<void> {
  const taken = await tx.serviceInstance.count({
    where: {
      name,
      OR: [{ spaceGuid: space.guid }, { sharings: { some: { spaceGuid: space.guid } } }],
      ...(own === undefined ? {} : { guid: { not: own } }),
    },
  })
  if (taken > 0) throw unprocessable(`The service instance name is taken: ${name}.`)
}

/** An early word on parameters, where the operator wants one; the broker's is final. */
export function requireValidParameters(
  { settings }: Pick<Context, 'settings'>,
  plan: Pick<PlanOfBroker, 'schemas' | 'name'>,
  act: 'create' | 'update',
  parameters: Record<string, unknown> | null | undefined,
): void {
  if (!settings.services.checkParameters || !parameters) return
  const schema = PlanSchemas.safeParse(plan.schemas).data?.service_instance?.[act]?.parameters
  const problems = schema ? parameterProblems(schema, parameters) : []
  if (problems.length > 0)
    throw unprocessable(`The parameters do not match what the plan ${plan.name} takes: ${problems.join('; ')}.`)
}
