import { parseAllowedDestination, parseIpNetwork, type TenantAddressPolicy } from '@bloomery/domain'
import { z } from 'zod'

const list = (text: string): string[] =>
  text
    .split(',')
    .map((each) => each.trim())
    .filter(Boolean)

export const TenantAddressEnv = z.object({
  /** Private addresses that tenants' brokers, syslog drains and route services may have: comma-separated networks or `address:port`. With `npm start` by default this platform's own public ports on this machine, where apps are reached. */
  BLOOMERY_TENANT_ADDRESSES: z
    .string()
    .default('')
    .transform((text, context) =>
      list(text).flatMap((each) => {
        const destination = parseAllowedDestination(each)
        if (!destination)
          context.addIssue(`'${each}' is neither a network (10.0.0.0/8) nor an address with a port (127.0.0.1:8080)`)
        return destination ?? []
      }),
    ),
  /** Public addresses that tenants' brokers, syslog drains and route services may not have: comma-separated networks. */
  BLOOMERY_TENANT_ADDRESSES_REFUSED: z
    .string()
    .default('')
    .transform((text, context) =>
      list(text).flatMap((each) => {
        const network = parseIpNetwork(each)
        if (!network) context.addIssue(`'${each}' is no network (203.0.113.0/24)`)
        return network ?? []
      }),
    ),
})
export type TenantAddressEnv = z.output<typeof TenantAddressEnv>

export const tenantAddressPolicy = (env: TenantAddressEnv): TenantAddressPolicy => ({
  allowed: env.BLOOMERY_TENANT_ADDRESSES,
  own: env.BLOOMERY_TENANT_ADDRESSES_REFUSED,
})
