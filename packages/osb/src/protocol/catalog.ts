import { z } from 'zod'

/** Semantic version 2.0. */
export const SEMVER =
  /^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-((?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*))?(?:\+([0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*))?$/
/** What an offering may require of the platform. */
export const OFFERING_REQUIREMENTS = ['syslog_drain', 'route_forwarding', 'volume_mount'] as const
export type OfferingRequirement = (typeof OFFERING_REQUIREMENTS)[number]

const Text = z.string().refine((text) => text.trim() !== '', 'is required')
const MAX_DESCRIPTION = 10_000
const Description = Text.refine((text) => text.length <= MAX_DESCRIPTION, `may not have more than ${MAX_DESCRIPTION} characters`)

/** A version of an instance's insides; instances of an older one can be upgraded. */
export const MaintenanceInfo = z.strictObject({
  version: z.string().regex(SEMVER, 'must be a semantic version, e.g. 1.2.3'),
  description: z.string().optional(),
})
export type MaintenanceInfo = z.infer<typeof MaintenanceInfo>

const ParametersSchema = z.object({ parameters: z.record(z.string(), z.unknown()).optional() })

/** JSON schemas of the parameters that an operation takes. */
export const PlanSchemas = z.object({
  service_instance: z.object({ create: ParametersSchema.optional(), update: ParametersSchema.optional() }).optional(),
  service_binding: z.object({ create: ParametersSchema.optional() }).optional(),
})
export type PlanSchemas = z.infer<typeof PlanSchemas>

export const CatalogPlan = z.object({
  id: Text,
  name: Text,
  description: Description,
  free: z.boolean().optional(),
  bindable: z.boolean().optional(),
  plan_updateable: z.boolean().optional(),
  metadata: z.record(z.string(), z.unknown()).optional(),
  schemas: PlanSchemas.optional(),
  /** Seconds. */
  maximum_polling_duration: z.int().optional(),
  maintenance_info: MaintenanceInfo.refine(
    (info) => JSON.stringify(info).length <= 2_000,
    'may not be longer than 2000 characters',
  ).optional(),
  binding_rotatable: z.boolean().optional(),
})
export type CatalogPlan = z.infer<typeof CatalogPlan>

export const DashboardClient = z.object({ id: Text, secret: Text, redirect_uri: Text })
export type DashboardClient = z.infer<typeof DashboardClient>

export const CatalogService = z.object({
  id: Text,
  name: Text,
  description: Description,
  bindable: z.boolean(),
  tags: z
    .array(z.string())
    .refine((tags) => tags.join('').length <= 2_048, 'may not be longer than 2048 characters together')
    .optional(),
  requires: z.array(z.enum(OFFERING_REQUIREMENTS)).optional(),
  metadata: z.looseObject({ shareable: z.boolean().optional() }).optional(),
  plan_updateable: z.boolean().optional(),
  instances_retrievable: z.boolean().optional(),
  bindings_retrievable: z.boolean().optional(),
  allow_context_updates: z.boolean().optional(),
  dashboard_client: DashboardClient.optional(),
  plans: z.array(CatalogPlan).min(1, 'must have at least one'),
})
export type CatalogService = z.infer<typeof CatalogService>

/** `GET /v2/catalog` */
export const Catalog = z.object({ services: z.array(CatalogService).min(1, 'must have at least one') })
export type Catalog = z.infer<typeof Catalog>
