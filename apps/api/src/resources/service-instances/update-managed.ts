import type { FastifyReply, FastifyRequest } from 'fastify'
import { CfError } from '@bloomery/contracts'
import type { Transaction } from '@bloomery/database'
import { planInstanceUpdate, type UpdatablePlan, type UpdatePlan, type UpdateRefusal } from '@bloomery/domain'
import type { Context } from '../../http/context.js'
import { unprocessable } from '../../http/errors.js'
import { applyMetadata } from '../../http/metadata.js'
import { actorOf } from '../../jobs/routes.js'
import { isManaged } from '../../service-bindings/bound-instance.js'
import { requireIdle } from '../../service-operations/accept-operation.js'
import type { PlanOfBroker } from '../service-plans/plan-access.js'
import { requireFreeName, requireValidParameters } from './create-managed.js'
import { findUsablePlan } from './find-plan.js'
import { INSTANCE_PARTS, lockServiceInstance } from './find-service-instance.js'
import type { UpdateManaged } from './inputs.js'
import { auditParameters, recordInstanceEvent } from './instance-events.js'
import { isCreateFailed, succeeded } from './last-operation.js'
import { requirePaidPlansAllowed } from './managed-quota.js'
import type { ManagedInstance } from './managed-request.js'
import { maintenanceVersionOf, presentServiceInstance } from './presenter.js'
import type { UpdateParams } from './update-handler.js'
import { refusedUpdate } from './usability.js'

/** Changes an instance of a broker: names and tags here, all else at the broker. */
export async function updateManaged(
  context: Context,
  request: FastifyRequest,
  reply: FastifyReply,
  instance: ManagedInstance,
  input: UpdateManaged,
): Promise<unknown> {
  const plan = await wantedPlan(context, request, instance, input)
  requireValidParameters(context, plan ?? instance.plan, 'update', input.parameters)
  const outcome = await context.db.$transaction(async (tx) => {
    const present = await lockServiceInstance(tx, instance.guid)
    if (!isManaged(present)) throw unprocessable('The service instance is not managed by a service broker.')
    const isMetadataAlone = Object.entries(input).every(([key, value]) => key === 'metadata' || value == null)
    if (isMetadataAlone) return updateHere(tx, context, request, present, input, false)
    await requireIdle(tx, present)
    await requireIdleBindings(tx, present)
    const decided = await decide(tx, present, input, plan)
    if (decided.kind === 'refused') throw refusalOf(decided.why, present.name)
    if (input.name != null) await requireFreeName(tx, present.space, input.name, present.guid)
    if (plan) await requirePaidPlansAllowed(tx, present.space, plan)
    if (decided.kind === 'local') return updateHere(tx, context, request, present, input, true)
    const refused = refusedUpdate(context.keyring, present, { ...decided, parameters: input.parameters ?? undefined })
    if (refused) throw refused
    return updateThere(tx, context, request, present, input, decided)
  })
  if ('jobGuid' in outcome) {
    context.operations.kick()
    return reply
      .code(202)
      .header('location', `${request.baseUrl}/v3/jobs/${outcome.jobGuid ?? ''}`)
      .send({})
  }
  return presentServiceInstance(outcome, request.baseUrl)
}

/** What is being bound or unbound now may not change under its broker's hands. */
async function requireIdleBindings(tx: Transaction, instance: ManagedInstance): Promise<void> {
  const pending = await tx.serviceOperation.findFirst({
    where: { serviceInstanceGuid: instance.guid, resourceType: 'credential_binding' },
  })
  if (!pending) return
  const binding = await tx.credentialBinding.findUnique({ where: { guid: pending.resourceGuid }, include: { app: true } })
  throw new CfError(
    'AsyncServiceBindingOperationInProgress',
    binding?.app
      ? `An operation for the service binding between app ${binding.app.name} and service instance ${instance.name} is in progress.`
      : `An operation for a service binding of service instance ${instance.name} is in progress.`,
  )
}

async function wantedPlan(
  { db }: Context,
  request: FastifyRequest,
  instance: ManagedInstance,
  input: UpdateManaged,
): Promise<PlanOfBroker | undefined> {
  const guid = input.relationships?.service_plan.data.guid
  if (guid === undefined) return undefined
  const plan = await findUsablePlan(db, request, guid, instance.space)
  if (plan.offeringGuid !== instance.plan.offeringGuid)
    throw new CfError('InvalidRelation', 'service plan relates to a different service offering')
  return plan
}

async function decide(
  tx: Transaction,
  present: ManagedInstance,
  input: UpdateManaged,
  plan: PlanOfBroker | undefined,
): Promise<UpdatePlan> {
  const where = { serviceInstanceGuid: present.guid }
  const bound = (await tx.credentialBinding.count({ where })) > 0
  const shared = (await tx.serviceInstanceSharing.count({ where })) > 0
  return planInstanceUpdate(
    {
      name: present.name,
      createFailed: isCreateFailed(present),
      shared,
      bound,
      plan: updatable(present.plan),
      maintenanceVersion: maintenanceVersionOf(present.maintenanceInfo),
    },
    {
      name: input.name ?? undefined,
      hasParameters: input.parameters != null,
      plan: plan && updatable(plan),
      maintenanceVersion: input.maintenance_info?.version ?? undefined,
    },
  )
}

const updatable = (plan: PlanOfBroker): UpdatablePlan => ({
  guid: plan.guid,
  active: plan.active,
  bindable: plan.bindable ?? plan.offering.bindable,
  planUpdateable: plan.planUpdateable ?? plan.offering.planUpdateable,
  allowContextUpdates: plan.offering.allowContextUpdates,
  maintenanceVersion: maintenanceVersionOf(plan.maintenanceInfo),
})

async function updateHere(
  tx: Transaction,
  { now }: Context,
  request: FastifyRequest,
  present: ManagedInstance,
  input: UpdateManaged,
  isOperation: boolean,
) {
  await recordInstanceEvent(tx, actorOf(request), present, 'update', auditParameters(input))
  return tx.serviceInstance.update({
    where: { guid: present.guid },
    data: {
      ...(input.name == null ? {} : { name: input.name }),
      ...(input.tags == null ? {} : { tags: input.tags }),
      ...(isOperation ? { lastOperation: { ...succeeded('update', now()) } } : {}),
      ...applyMetadata(present, input.metadata),
    },
    include: INSTANCE_PARTS,
  })
}

function updateThere(
  tx: Transaction,
  { operations }: Context,
  request: FastifyRequest,
  present: ManagedInstance,
  input: UpdateManaged,
  decided: Extract<UpdatePlan, { kind: 'broker' }>,
) {
  const params: UpdateParams = {
    name: input.name ?? undefined,
    tags: input.tags ?? undefined,
    metadata: input.metadata,
    parameters: input.parameters ?? undefined,
    planGuid: decided.planGuid,
    maintenanceVersion: decided.maintenanceVersion,
    audited: { ...input },
  }
  return operations.enqueue(tx, {
    resourceType: 'instance',
    resourceGuid: present.guid,
    serviceInstanceGuid: present.guid,
    type: 'update',
    brokerGuid: present.plan.offering.brokerGuid,
    params,
    actor: actorOf(request),
    job: { operation: 'service_instance.update', resourceType: 'service_instances' },
  })
}

function refusalOf(why: UpdateRefusal, name: string): CfError {
  const inaccessible = (what: string) =>
    unprocessable(`Cannot update ${what} of a service instance that belongs to inaccessible plan`)
  switch (why) {
    case 'instance-not-created':
      return new CfError('ServiceInstanceNotFound', `The service instance could not be found: ${name}`)
    case 'shared-not-renamable':
      return unprocessable('Service instances that have been shared cannot be renamed')
    case 'plan-not-updateable':
      return unprocessable('The service does not support changing plans.')
    case 'not-bindable':
      return unprocessable('The service plan is invalid: cannot switch to non-bindable plan when service bindings exist')
    case 'maintenance-with-plan-change':
      return unprocessable('maintenance_info should not be changed when switching to different plan.')
    case 'maintenance-not-supported':
      return unprocessable('The service broker does not support upgrades for service instances created from this plan.')
    case 'maintenance-version-unknown':
      return unprocessable(
        'maintenance_info.version requested is invalid. Please ensure the catalog is up to date and you are providing a version supported by this service plan.',
      )
    case 'inaccessible-plan-parameters':
      return inaccessible('parameters')
    case 'inaccessible-plan-name':
      return inaccessible('name')
    case 'inaccessible-plan-maintenance':
      return inaccessible('maintenance_info')
  }
}
