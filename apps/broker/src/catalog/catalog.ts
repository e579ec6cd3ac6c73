import type { Catalog } from '@bloomery/osb/protocol'
import { z } from 'zod'
import type { Engine, Plan } from '../engines/engine.js'
import { BackupParameters, UpdateParameters } from './parameters.js'

/** How long an operation of ours may take before the platform gives it up, seconds. */
const MAXIMUM_POLLING_SECONDS = 1_800

/** What platforms are shown: the offerings whose servers can be had here. */
export function presentCatalog(engines: readonly Engine[]): Catalog {
  return {
    services: engines.map((engine) => {
      const { id, name, description, displayName, tags, documentationUrl } = engine.offering
      return {
        id,
        name,
        description,
        bindable: true,
        tags: [...tags],
        metadata: {
          displayName,
          providerDisplayName: 'Bloomery',
          shareable: true,
          ...(documentationUrl === undefined ? {} : { documentationUrl }),
        },
        plan_updateable: true,
        instances_retrievable: true,
        bindings_retrievable: true,
        allow_context_updates: true,
        plans: engine.plans.filter((plan) => engine.offers?.(plan) ?? true).map((plan) => presentPlan(engine, plan)),
      }
    }),
  }
}

function presentPlan(engine: Engine, plan: Plan): Catalog['services'][number]['plans'][number] {
  const schema = (object: z.ZodObject) => ({ parameters: z.toJSONSchema(object, { target: 'draft-7', io: 'input' }) })
  return {
    id: plan.id,
    name: plan.name,
    description: plan.description,
    free: true,
    maximum_polling_duration: MAXIMUM_POLLING_SECONDS,
    metadata: { bullets: [...plan.bullets] },
    schemas: {
      service_instance: { create: schema(createParameters(engine)), update: schema(updateParameters(engine)) },
      service_binding: { create: schema(engine.offering.parameters.bind) },
    },
  }
}

/** Everything create-service takes for this offering. */
export const createParameters = (engine: Engine): z.ZodObject =>
  z.strictObject({ ...engine.offering.parameters.create.shape, ...BackupParameters.shape })

/** Everything update-service takes for this offering. */
export const updateParameters = (engine: Engine): z.ZodObject =>
  z.strictObject({ ...engine.offering.parameters.update.shape, ...UpdateParameters.shape })

export interface Offered {
  readonly engine: Engine
  readonly plan: Plan
}

/** Engine and plan by the catalog's ids; an offering that is not available now is found too, for what exists of it. */
export function findPlan(engines: readonly Engine[], serviceId: string, planId: string): Offered | undefined {
  const engine = engines.find(({ offering }) => offering.id === serviceId)
  const plan = engine?.plans.find(({ id }) => id === planId)
  return engine && plan ? { engine, plan } : undefined
}
