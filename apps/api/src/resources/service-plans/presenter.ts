import { z } from 'zod'
import { presentMetadata } from '../../http/metadata.js'
import type { PlanOfBroker } from './plan-access.js'

const Costs = z.array(z.object({ amount: z.record(z.string().min(1), z.number()), unit: z.string().min(1) }))
const Schemas = z.object({
  service_instance: z
    .object({
      create: z.object({ parameters: z.unknown().optional() }).optional(),
      update: z.object({ parameters: z.unknown().optional() }).optional(),
    })
    .optional(),
  service_binding: z.object({ create: z.object({ parameters: z.unknown().optional() }).optional() }).optional(),
})

/** A plan; what it inherits from its offering is told as its own. */
export const presentServicePlan = (plan: PlanOfBroker, baseUrl: string) => {
  const { offering } = plan
  const { spaceGuid } = offering.broker
  const self = `${baseUrl}/v3/service_plans/${plan.guid}`
  const schemas = Schemas.safeParse(plan.schemas).data
  return {
    guid: plan.guid,
    created_at: plan.createdAt.toISOString(),
    updated_at: plan.updatedAt.toISOString(),
    name: plan.name,
    visibility_type: plan.visibilityType,
    available: plan.active,
    free: plan.free,
    costs: costsOf(plan.catalogMetadata),
    description: plan.description,
    maintenance_info: plan.maintenanceInfo ?? {},
    broker_catalog: {
      id: plan.catalogId,
      metadata: plan.catalogMetadata,
      maximum_polling_duration: plan.maximumPollingDuration,
      features: {
        bindable: plan.bindable ?? offering.bindable,
        plan_updateable: plan.planUpdateable ?? offering.planUpdateable,
      },
    },
    schemas: {
      service_instance: {
        create: { parameters: schemas?.service_instance?.create?.parameters ?? {} },
        update: { parameters: schemas?.service_instance?.update?.parameters ?? {} },
      },
      service_binding: { create: { parameters: schemas?.service_binding?.create?.parameters ?? {} } },
    },
    relationships: {
      service_offering: { data: { guid: offering.guid } },
      ...(spaceGuid === null ? {} : { space: { data: { guid: spaceGuid } } }),
    },
    metadata: presentMetadata(plan),
    links: {
      self: { href: self },
      service_offering: { href: `${baseUrl}/v3/service_offerings/${offering.guid}` },
      visibility: { href: `${self}/visibility` },
      ...(spaceGuid === null ? {} : { space: { href: `${baseUrl}/v3/spaces/${spaceGuid}` } }),
    },
  }
}

/** What brokers write by convention: `[{amount: {usd: 9.99}, unit: 'MONTHLY'}]`; anything else is no price. */
function costsOf(metadata: unknown): { currency: string; amount: number; unit: string }[] {
  const costs = z.object({ costs: Costs }).safeParse(metadata)
  if (!costs.success) return []
  return costs.data.costs.flatMap(({ amount, unit }) =>
    Object.entries(amount).map(([currency, value]) => ({ currency: currency.toUpperCase(), amount: value, unit })),
  )
}
