import { z } from 'zod'

/**
 * Where apps' logs go besides the log store, from the api's internal listener (certificate `logs`):
 *   GET /internal/syslog-drains?revision=R → 200 SyslogDrains, or 204 where nothing has changed since R
 * One entry per app and address, however many bindings lead there.
 */
export const SyslogDrain = z.object({
  appGuid: z.string(),
  appName: z.string(),
  spaceGuid: z.string(),
  spaceName: z.string(),
  organizationGuid: z.string(),
  organizationName: z.string(),
  /** syslog, syslog-tls, https or https-batch; may hold a user, a password and parameters. */
  url: z.string(),
  /** Given by a global broker: may lead anywhere. Otherwise a tenant gave it, and private addresses are refused. */
  trusted: z.boolean(),
  /** PEM, from the credentials `cert`, `key` and `ca`. */
  certificatePem: z.string().optional(),
  privateKeyPem: z.string().optional(),
  authorityPem: z.string().optional(),
})
export type SyslogDrain = z.infer<typeof SyslogDrain>
export const SyslogDrains = z.object({ revision: z.string(), drains: z.array(SyslogDrain) })
export type SyslogDrains = z.infer<typeof SyslogDrains>
