import { z } from 'zod'

/** The specification's error codes; each stands beside status 422. */
export const BROKER_ERROR_CODES = ['AsyncRequired', 'ConcurrencyError', 'RequiresApp', 'MaintenanceInfoConflict'] as const
export type BrokerErrorCode = (typeof BROKER_ERROR_CODES)[number]

/** The body of a refusal. All of it is optional, and none of it is to be trusted. */
export const BrokerErrorBody = z.object({
  error: z.string().optional().catch(undefined),
  /** Shown to the user. */
  description: z.string().optional().catch(undefined),
  /** After a failed update or deprovision: can the instance still be used? @default true */
  instance_usable: z.boolean().optional().catch(undefined),
  /** After a failed update: may it be tried again? @default true */
  update_repeatable: z.boolean().optional().catch(undefined),
})
export type BrokerErrorBody = z.infer<typeof BrokerErrorBody>
