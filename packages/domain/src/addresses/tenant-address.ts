import { isInNetwork, parseIpAddress, parseIpNetwork, type IpAddress, type IpNetwork } from './ip-address.js'

/** What an operator allows beyond the public internet: a network, at all ports or at one. */
export interface AllowedDestination {
  readonly network: IpNetwork
  readonly port?: number
}

/** Where the platform goes on behalf of a tenant (a space-scoped broker, a syslog drain, a route service). */
export interface TenantAddressPolicy {
  /** Allowed whatever else is said of them. */
  readonly allowed: readonly AllowedDestination[]
  /** The platform's own: internal listeners and the like, beyond what is private anyway. */
  readonly own: readonly IpNetwork[]
}

/** Why an address is refused. */
export type RefusedAddress = 'no address' | 'loopback' | 'link-local' | 'private' | 'reserved' | "the platform's own"

const networks = (...texts: readonly string[]): IpNetwork[] =>
  texts.map((text) => {
    const network = parseIpNetwork(text)
    if (!network) throw new RangeError(`not a network: ${text}`)
    return network
  })

/** IANA's special-purpose registries, by what a tenant would reach there. */
const REFUSED: readonly (readonly [RefusedAddress, readonly IpNetwork[]])[] = [
  ['loopback', networks('127.0.0.0/8', '0.0.0.0/8', '::1', '::')],
  // 169.254.169.254 and its like hand out the credentials of the machine.
  ['link-local', networks('169.254.0.0/16', 'fe80::/10', 'fd00:ec2::254')],
  [
    'private',
    networks('10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10', 'fc00::/7', 'fec0::/10', '64:ff9b:1::/48'),
  ],
  [
    'reserved',
    networks(
      ...['192.0.0.0/24', '192.0.2.0/24', '192.88.99.0/24', '198.18.0.0/15', '198.51.100.0/24', '203.0.113.0/24'],
      ...['224.0.0.0/4', '240.0.0.0/4', 'ff00::/8', '100::/64', '2001::/23', '2001:db8::/32', '3fff::/20', '5f00::/16'],
    ),
  ],
]

/** IPv6 networks that carry an IPv4 address, and how far from the right it stands. */
const EMBEDDING: readonly (readonly [IpNetwork, bigint])[] = [
  ...networks('::ffff:0:0/96', '::ffff:0:0:0/96', '64:ff9b::/96', '::/96').map((network) => [network, 0n] as const),
  ...networks('2002::/16').map((network) => [network, 80n] as const),
]

/**
 * Whether the platform may connect to this resolved address on a tenant's behalf; undefined: yes. Judge the address that is connected
 * to, never a name: what a name resolves to may change between two questions. An IPv4 address inside an IPv6 one is judged as such.
 */
export function refuseTenantAddress(policy: TenantAddressPolicy, address: string, port: number): RefusedAddress | undefined {
  const parsed = parseIpAddress(address)
  if (!parsed) return 'no address'
  const forms = [parsed, ...embeddedIn(parsed)]
  const isAllowed = (form: IpAddress): boolean =>
    policy.allowed.some((each) => (each.port === undefined || each.port === port) && isInNetwork(form, each.network))
  if (forms.some(isAllowed)) return undefined
  // ::1 and :: also look like embedded addresses of 0.0.0.0/8, which is refused as well.
  for (const form of forms) {
    if (policy.own.some((network) => isInNetwork(form, network))) return "the platform's own"
    const [kind] = REFUSED.find(([, refused]) => refused.some((network) => isInNetwork(form, network))) ?? []
    if (kind) return kind
  }
  return undefined
}

/** Reads `10.0.0.0/8`, `192.168.1.5`, `127.0.0.1:8080` or `[fd00::1]:443`; undefined when it is none. */
export function parseAllowedDestination(text: string): AllowedDestination | undefined {
  const [, host, digits] = /^(\[[^\]]+\](?:\/\d+)?|[^:]+):(\d{1,5})$/.exec(text) ?? []
  const port = digits === undefined ? undefined : Number(digits)
  if (port !== undefined && (port === 0 || port > 65_535)) return undefined
  const network = parseIpNetwork(host ?? text)
  return network && { network, ...(port === undefined ? {} : { port }) }
}

function embeddedIn(address: IpAddress): IpAddress[] {
  return EMBEDDING.filter(([network]) => isInNetwork(address, network)).map(([, shift]) => ({
    family: 4,
    value: (address.value >> shift) & 0xffffffffn,
  }))
}
