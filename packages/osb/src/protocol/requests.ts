import { z } from 'zod'
import { MaintenanceInfo } from './catalog.js'

const Text = z.string().min(1)
const Parameters = z.record(z.string(), z.unknown())

/** Where the platform asks from. Other platforms than Cloud Foundry send other fields, which are kept. */
export const RequestContext = z.looseObject({
  platform: Text,
  organization_guid: z.string().optional(),
  organization_name: z.string().optional(),
  organization_annotations: z.record(z.string(), z.string()).optional(),
  space_guid: z.string().optional(),
  space_name: z.string().optional(),
  space_annotations: z.record(z.string(), z.string()).optional(),
  instance_name: z.string().optional(),
  instance_annotations: z.record(z.string(), z.string()).optional(),
})
export type RequestContext = z.infer<typeof RequestContext>

/** `PUT /v2/service_instances/:id` */
export const ProvisionRequest = z.object({
  service_id: Text,
  plan_id: Text,
  organization_guid: Text,
  space_guid: Text,
  context: RequestContext.optional(),
  parameters: Parameters.optional(),
  maintenance_info: MaintenanceInfo.optional(),
})
export type ProvisionRequest = z.infer<typeof ProvisionRequest>

/** `PATCH /v2/service_instances/:id` */
export const UpdateRequest = z.object({
  service_id: Text,
  plan_id: Text.optional(),
  context: RequestContext.optional(),
  parameters: Parameters.optional(),
  previous_values: z
    .object({
      service_id: z.string().optional(),
      plan_id: z.string().optional(),
      organization_id: z.string().optional(),
      space_id: z.string().optional(),
      maintenance_info: MaintenanceInfo.optional(),
    })
    .optional(),
  maintenance_info: MaintenanceInfo.optional(),
})
export type UpdateRequest = z.infer<typeof UpdateRequest>

/** What a binding is for: an app, a route, or (with neither) credentials for whoever asked. */
export const BindResource = z.looseObject({
  app_guid: z.string().optional(),
  space_guid: z.string().optional(),
  app_annotations: z.record(z.string(), z.string()).optional(),
  /** Host and path, without a scheme. */
  route: z.string().optional(),
  credential_client_id: z.string().optional(),
})
export type BindResource = z.infer<typeof BindResource>

/** `PUT /v2/service_instances/:id/service_bindings/:id` */
export const BindRequest = z.object({
  service_id: Text,
  plan_id: Text,
  /** Deprecated in favour of `bind_resource.app_guid`, and still expected. */
  app_guid: z.string().optional(),
  bind_resource: BindResource.optional(),
  context: RequestContext.optional(),
  parameters: Parameters.optional(),
  predecessor_binding_id: z.string().optional(),
})
export type BindRequest = z.infer<typeof BindRequest>

/** The query of deletes: which offering and plan, and whether 202 may be answered. */
export const DeleteQuery = z.object({ service_id: Text, plan_id: Text, accepts_incomplete: z.enum(['true', 'false']).optional() })
export type DeleteQuery = z.infer<typeof DeleteQuery>

/** The query of `…/last_operation`. */
export const LastOperationQuery = z.object({
  service_id: z.string().optional(),
  plan_id: z.string().optional(),
  operation: z.string().optional(),
})
export type LastOperationQuery = z.infer<typeof LastOperationQuery>
