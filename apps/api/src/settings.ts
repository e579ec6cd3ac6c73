import type { PollingRules, TenantAddressPolicy } from '@bloomery/domain'

import type { PortRange } from '@bloomery/domain'

/** What the operator has settled, compiled once from the environment. */
export interface ApiSettings {
  readonly systemDomain: string
  readonly appsDomain: string
  readonly httpPort: number
  readonly httpsPort: number
  readonly sshPort: number
  /** Ports that routers hold for TCP routes. */
  readonly tcpPorts: readonly PortRange[]
  /** Host names (without port) under which links may be built. */
  readonly apiHosts: ReadonlySet<string>
  /** `cf_api`, token issuer: never from a header. */
  readonly publicApiUrl: string
  /** Whose X-Forwarded-* headers are believed. @default loopback */
  readonly trustedProxies?: string
  readonly apiVersion: string
  readonly installationId: string
  readonly maxPackageBytes: number
  /** Upper bounds and defaults for processes and staging. */
  readonly defaults: {
    readonly memoryMb: number
    readonly diskMb: number
    readonly maxDiskMb: number
    readonly stagingMemoryMb: number
    readonly stagingDiskMb: number
    readonly logRateLimit: number
  }
  readonly longPollMs: number
  readonly services: ServiceSettings
}

/** How service brokers are dealt with. */
export interface ServiceSettings {
  readonly polling: PollingRules
  /** For one request to a broker. */
  readonly brokerTimeoutMs: number
  /** Requests to one broker at once. */
  readonly perBroker: number
  /** Answers of brokers that one user may wait for at once; 0: no limit. */
  readonly callsPerUser: number
  /** Whether parameters are checked against a plan's schema before the broker is asked. */
  readonly checkParameters: boolean
  /** Where brokers of spaces may be. */
  readonly tenantAddresses: TenantAddressPolicy
}
