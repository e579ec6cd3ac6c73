import { z } from 'zod'
import { MaintenanceInfo } from './catalog.js'

const Parameters = z.record(z.string(), z.unknown())
/** What a broker tells a poller to give back, exactly as it is. */
const Operation = z.string().max(10_000).nullish()

/** Labels and attributes that the broker puts on an instance, or the life of a binding. */
const InstanceMetadata = z.object({
  labels: z.record(z.string(), z.unknown()).optional(),
  attributes: z.record(z.string(), z.unknown()).optional(),
})

/** Answer to provision and update. */
export const InstanceAnswer = z.object({
  dashboard_url: z.string().nullish(),
  operation: Operation,
  metadata: InstanceMetadata.nullish(),
})
export type InstanceAnswer = z.infer<typeof InstanceAnswer>

/** Answer to deprovision and unbind. */
export const DeleteAnswer = z.object({ operation: Operation })
export type DeleteAnswer = z.infer<typeof DeleteAnswer>

/** A volume that the platform is to mount into the app. */
export const VolumeMount = z.object({
  driver: z.string(),
  container_dir: z.string(),
  mode: z.enum(['r', 'rw']),
  device_type: z.literal('shared'),
  device: z.object({ volume_id: z.string(), mount_config: z.record(z.string(), z.unknown()).nullish() }),
})
export type VolumeMount = z.infer<typeof VolumeMount>

/** Where the service listens, so that the platform can let its apps through. */
export const Endpoint = z.object({
  host: z.string(),
  ports: z.array(z.string()),
  protocol: z.enum(['tcp', 'udp', 'all']).optional(),
})
export type Endpoint = z.infer<typeof Endpoint>

const bindingFields = {
  credentials: z.record(z.string(), z.unknown()).nullish(),
  syslog_drain_url: z.string().max(10_000).nullish(),
  route_service_url: z.string().nullish(),
  volume_mounts: z.array(VolumeMount).nullish(),
  endpoints: z.array(Endpoint).nullish(),
  metadata: z.object({ expires_at: z.string().optional(), renew_before: z.string().optional() }).nullish(),
}

/** Answer to bind. */
export const BindingAnswer = z.object({ ...bindingFields, operation: Operation })
export type BindingAnswer = z.infer<typeof BindingAnswer>

/** Answer to `GET` of an instance. */
export const FetchedInstance = z.object({
  service_id: z.string().nullish(),
  plan_id: z.string().nullish(),
  dashboard_url: z.string().nullish(),
  parameters: Parameters.nullish(),
  maintenance_info: MaintenanceInfo.nullish(),
  metadata: InstanceMetadata.nullish(),
})
export type FetchedInstance = z.infer<typeof FetchedInstance>

/** Answer to `GET` of a binding. */
export const FetchedBinding = z.object({ ...bindingFields, parameters: Parameters.nullish() })
export type FetchedBinding = z.infer<typeof FetchedBinding>

export const OPERATION_STATES = ['in progress', 'succeeded', 'failed'] as const
export type OperationState = (typeof OPERATION_STATES)[number]

/** Answer to `…/last_operation`. */
export const LastOperationAnswer = z.object({
  state: z.enum(OPERATION_STATES),
  description: z.string().nullish(),
  instance_usable: z.boolean().nullish(),
  update_repeatable: z.boolean().nullish(),
})
export type LastOperationAnswer = z.infer<typeof LastOperationAnswer>
