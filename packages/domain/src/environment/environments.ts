import { type AppIdentity, vcapApplication } from './vcap-application.js'
import { type BindingDelivery, bindingVariables } from './binding-files.js'
import { type BoundService, databaseUrl } from './vcap-services.js'

export type Variables = Readonly<Record<string, string>>
interface Sources {
  readonly app: AppIdentity
  /** The staging or the running environment group. */
  readonly group: Variables
  readonly appVariables: Variables
  readonly bindings: readonly BoundService[]
  readonly delivery: BindingDelivery
}

/** The environment of a staging container; later wins. */
export function stagingEnvironment(
  sources: Sources,
  build: { readonly version: string; readonly stack: string; readonly memoryMb: number; readonly diskMb: number },
): Record<string, string> {
  return {
    ...sources.group,
    ...sources.appVariables,
    CF_STACK: build.stack,
    VCAP_APPLICATION: JSON.stringify(vcapApplication(sources.app, { kind: 'staging', ...build })),
    MEMORY_LIMIT: `${build.memoryMb}m`,
    ...bindingVariables(sources.bindings, sources.delivery),
    ...databaseVariable(sources.bindings),
  }
}

/** The environment of a running process, but for what its cell adds (PORT, CF_INSTANCE_…); later wins. */
export function runningEnvironment(
  sources: Sources,
  process: {
    readonly guid: string
    readonly type: string
    readonly version: string
    readonly memoryMb: number
    readonly diskMb: number
  },
): Record<string, string> {
  const { guid: processGuid, type: processType, version, memoryMb, diskMb } = process
  return {
    ...sources.group,
    ...sources.appVariables,
    VCAP_APPLICATION: JSON.stringify(
      vcapApplication(sources.app, { kind: 'running', version, memoryMb, diskMb, processGuid, processType }),
    ),
    MEMORY_LIMIT: `${memoryMb}m`,
    ...bindingVariables(sources.bindings, sources.delivery),
    ...databaseVariable(sources.bindings),
  }
}

function databaseVariable(bindings: readonly BoundService[]): Record<string, string> {
  const url = databaseUrl(bindings)
  return url === undefined ? {} : { DATABASE_URL: url }
}
