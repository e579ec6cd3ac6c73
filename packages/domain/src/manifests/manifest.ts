import type { HealthCheckChange } from '../apps/health-check.js'

/** One application of a manifest, checked and in one form: only what the manifest says is there, the rest stays as it is. */
export interface AppManifest {
  readonly name: string
  /** [] asks for detection. */
  readonly buildpacks?: readonly string[]
  readonly stack?: string
  readonly env?: Readonly<Record<string, string>>
  readonly metadata?: ManifestMetadata
  readonly noRoute: boolean
  readonly randomRoute: boolean
  readonly defaultRoute: boolean
  readonly routes?: readonly ManifestRoute[]
  readonly services: readonly ManifestService[]
  /** What stands at the level of the application is the web process's, unless there is an entry of its own for it. */
  readonly processes: readonly ManifestProcess[]
  /** Names of sidecars, which are not run yet. */
  readonly sidecars: readonly string[]
  readonly features: Readonly<Record<string, boolean>>
}
export interface ManifestMetadata {
  readonly labels?: Readonly<Record<string, string | null>>
  readonly annotations?: Readonly<Record<string, string | null>>
}
export interface ManifestRoute {
  readonly route: string
  readonly protocol?: 'http1' | 'http2' | 'tcp'
  readonly options?: Readonly<Record<string, string | number | null>>
}
export interface ManifestService {
  readonly name: string
  readonly bindingName?: string
  readonly parameters?: Readonly<Record<string, unknown>>
}
export interface ManifestProcess {
  readonly type: string
  /** null goes back to the droplet's own. */
  readonly command?: string | null
  readonly instances?: number
  readonly memoryMb?: number
  readonly diskMb?: number
  readonly logRateLimit?: number
  readonly healthCheck?: HealthCheckChange
  readonly readinessHealthCheck?: HealthCheckChange
}
export interface ParsedManifest {
  readonly apps: readonly AppManifest[]
  /** One sentence per problem; empty means that the manifest can be applied as far as can be told without the database. */
  readonly faults: readonly string[]
}
