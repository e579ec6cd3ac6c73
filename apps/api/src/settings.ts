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
}
