/** The v3 resources as far as this client reads them. */
export interface Relationship {
  readonly data: { readonly guid: string } | null
}
export interface Organization {
  readonly guid: string
  readonly name: string
}
export interface Space {
  readonly guid: string
  readonly name: string
}
export interface App {
  readonly guid: string
  readonly name: string
  readonly state: 'STARTED' | 'STOPPED'
  readonly lifecycle: {
    readonly type: string
    readonly data: { readonly stack?: string; readonly buildpacks?: readonly string[] | null }
  }
}
export interface Package {
  readonly guid: string
  readonly type: string
  readonly state: 'AWAITING_UPLOAD' | 'COPYING' | 'PROCESSING_UPLOAD' | 'READY' | 'FAILED' | 'EXPIRED'
  readonly data?: { readonly error?: string | null }
}
export interface Build {
  readonly guid: string
  readonly state: 'STAGING' | 'STAGED' | 'FAILED'
  readonly error: string | null
  readonly droplet: { readonly guid: string } | null
}
export interface Droplet {
  readonly guid: string
  readonly state: string
  readonly created_at: string
  readonly stack: string | null
  readonly buildpacks: readonly {
    readonly name: string
    readonly version?: string | null
    readonly detect_output?: string | null
    readonly buildpack_name?: string | null
  }[]
}
export interface Process {
  readonly guid: string
  readonly type: string
  readonly command: string | null
  readonly instances: number
  readonly memory_in_mb: number
  readonly disk_in_mb: number
  readonly process_instances?: readonly { readonly index: number; readonly state: string }[]
  readonly relationships: { readonly app: Relationship }
}
export interface InstanceStats {
  readonly type: string
  readonly index: number
  readonly state: 'RUNNING' | 'STARTING' | 'CRASHED' | 'DOWN' | 'STOPPING'
  readonly uptime?: number | null
  readonly usage?: {
    readonly cpu?: number | null
    readonly cpu_entitlement?: number | null
    readonly mem?: number | null
    readonly disk?: number | null
    readonly log_rate?: number | null
  }
  readonly mem_quota?: number | null
  readonly disk_quota?: number | null
  readonly log_rate_limit?: number | null
  readonly details?: string | null
  readonly routable?: boolean | null
}
export interface Deployment {
  readonly guid: string
  readonly strategy: string
  readonly status: { readonly value: string; readonly reason: string; readonly details?: { readonly error?: string | null } }
  readonly new_processes: readonly { readonly guid: string; readonly type: string }[]
}
export interface Domain {
  readonly guid: string
  readonly name: string
  readonly internal?: boolean
  readonly supported_protocols?: readonly string[]
  readonly relationships?: { readonly organization: Relationship }
}
/** As the routing API has it. */
export interface RouterGroup {
  readonly guid: string
  readonly name: string
  readonly type: string
  readonly reservable_ports?: string | null
}
export interface Route {
  readonly guid: string
  readonly url: string
  readonly host: string
  readonly path: string
  readonly port?: number | null
  readonly protocol: string
  readonly options?: Readonly<Record<string, string | number>> | null
  readonly destinations: readonly {
    readonly guid: string | null
    readonly app: { readonly guid: string }
    readonly protocol?: string | null
  }[]
  readonly relationships: { readonly space: Relationship; readonly domain: Relationship }
}
export interface Job {
  readonly guid: string
  readonly operation: string
  readonly state: 'PROCESSING' | 'POLLING' | 'COMPLETE' | 'FAILED'
  readonly errors?: readonly { readonly code: number; readonly title: string; readonly detail: string }[]
  readonly warnings?: readonly { readonly detail: string }[]
}
export interface AuditEvent {
  readonly guid: string
  readonly created_at: string
  readonly type: string
  readonly actor: { readonly name: string | null }
  readonly data: Readonly<Record<string, unknown>> | null
}
export interface AppEnvironment {
  readonly system_env_json: Readonly<Record<string, unknown>> | null
  readonly application_env_json: Readonly<Record<string, unknown>> | null
  readonly environment_variables: Readonly<Record<string, unknown>> | null
  readonly running_env_json: Readonly<Record<string, unknown>> | null
  readonly staging_env_json: Readonly<Record<string, unknown>> | null
}
export interface LastOperation {
  readonly type: string
  readonly state: 'initial' | 'in progress' | 'succeeded' | 'failed'
  readonly description?: string | null
  readonly updated_at?: string | null
}
export interface ServiceInstance {
  readonly guid: string
  readonly name: string
  readonly type: 'managed' | 'user-provided'
  readonly tags?: readonly string[] | null
  readonly dashboard_url?: string | null
  readonly syslog_drain_url?: string | null
  readonly route_service_url?: string | null
  readonly upgrade_available?: boolean | null
  readonly last_operation?: LastOperation | null
  readonly relationships: { readonly space: Relationship; readonly service_plan?: Relationship }
}
export interface ServicePlan {
  readonly guid: string
  readonly name: string
  readonly description: string
  readonly free: boolean
  readonly available: boolean
  readonly visibility_type: 'public' | 'admin' | 'organization' | 'space'
  readonly maintenance_info?: { readonly version?: string } | null
  readonly relationships: { readonly service_offering: Relationship }
}
export interface ServiceOffering {
  readonly guid: string
  readonly name: string
  readonly description: string
  readonly relationships: { readonly service_broker: Relationship }
}
export interface ServiceBroker {
  readonly guid: string
  readonly name: string
  readonly url: string
  readonly relationships?: { readonly space?: Relationship }
}
export interface CredentialBinding {
  readonly guid: string
  readonly name: string | null
  readonly type: 'app' | 'key'
  readonly created_at: string
  readonly last_operation?: LastOperation | null
  readonly relationships: { readonly app?: Relationship; readonly service_instance: Relationship }
}
