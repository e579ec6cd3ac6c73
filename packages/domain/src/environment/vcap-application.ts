/** An app as its own environment names it. */
export interface AppIdentity {
  /** Public address of the API; never taken from a request. */
  readonly cfApi: string
  readonly guid: string
  readonly name: string
  readonly spaceGuid: string
  readonly spaceName: string
  readonly organizationGuid: string
  readonly organizationName: string
  /** Addresses of its routes: host.domain[/path]. */
  readonly uris: readonly string[]
}
export const FILE_DESCRIPTORS = 16_384

/** For whom VCAP_APPLICATION is made: what is known, and therefore said, differs. */
export type VcapApplicationUse =
  /** What the app is in itself, as `cf env` shows it. */
  | { readonly kind: 'app'; readonly version: string }
  | { readonly kind: 'staging'; readonly version: string; readonly memoryMb: number; readonly diskMb: number }
  | {
      readonly kind: 'running'
      readonly version: string
      readonly memoryMb: number
      readonly diskMb: number
      readonly processGuid: string
      readonly processType: string
    }

/** The value of VCAP_APPLICATION, but for what the cell adds for each instance. */
export function vcapApplication(app: AppIdentity, use: VcapApplicationUse): Record<string, unknown> {
  return {
    cf_api: app.cfApi,
    limits: { fds: FILE_DESCRIPTORS, ...(use.kind === 'app' ? {} : { mem: use.memoryMb, disk: use.diskMb }) },
    application_name: app.name,
    application_uris: [...app.uris],
    name: app.name,
    space_name: app.spaceName,
    space_id: app.spaceGuid,
    organization_id: app.organizationGuid,
    organization_name: app.organizationName,
    uris: [...app.uris],
    ...(use.kind === 'running' ? { process_id: use.processGuid, process_type: use.processType } : { users: null }),
    application_id: app.guid,
    ...(use.kind === 'app' ? {} : { version: use.version, application_version: use.version }),
  }
}
