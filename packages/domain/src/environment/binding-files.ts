import { effectiveBindings, presentBinding, vcapServices, type BoundService } from './vcap-services.js'

/** How an app gets its bindings: as VCAP_SERVICES, as a file with the same content, or as a folder per binding. */
export type BindingDelivery = 'variable' | 'file' | 'folders'

/** Where the files of bindings lie inside. */
export const BINDING_FILES_FOLDER = '/etc/cf-service-bindings'
const VCAP_SERVICES_FILE = 'vcap_services'
/** Paths and contents together, as Cloud Foundry counts. */
const MAX_BYTES = 1_000_000
const BINDING_NAME = /^[a-z0-9\-.]{1,253}$/
const FILE_NAME = /^[a-z0-9\-._]{1,253}$/
/** Names that every folder has already. */
const TAKEN = /^\.{1,2}$/

/** The features cannot both be on; the API refuses that. */
export function bindingDelivery(features: {
  readonly fileBasedVcapServices: boolean
  readonly serviceBindingK8s: boolean
}): BindingDelivery {
  return features.fileBasedVcapServices ? 'file' : features.serviceBindingK8s ? 'folders' : 'variable'
}

/** The variable by which the app finds its bindings. */
export function bindingVariables(bindings: readonly BoundService[], delivery: BindingDelivery): Record<string, string> {
  switch (delivery) {
    case 'variable':
      return { VCAP_SERVICES: JSON.stringify(vcapServices(bindings)) }
    case 'file':
      return { VCAP_SERVICES_FILE_PATH: `${BINDING_FILES_FOLDER}/${VCAP_SERVICES_FILE}` }
    case 'folders':
      return { SERVICE_BINDING_ROOT: BINDING_FILES_FOLDER }
  }
}

/** The files, by their paths below the folder; undefined where none are asked for. A string says why they cannot be made. */
export function bindingFiles(
  bindings: readonly BoundService[],
  delivery: BindingDelivery,
): Readonly<Record<string, string>> | undefined | string {
  if (delivery === 'variable') return undefined
  const files =
    delivery === 'file'
      ? { [VCAP_SERVICES_FILE]: JSON.stringify(vcapServices(bindings)) }
      : foldersOf(effectiveBindings(bindings))
  if (typeof files === 'string') return files
  const bytes = Object.entries(files).reduce((sum, [path, content]) => sum + bytesOf(path) + bytesOf(content), 0)
  return bytes > MAX_BYTES ? `Bindings exceed the maximum allowed bytesize of ${MAX_BYTES}: ${bytes}` : files
}

function foldersOf(bindings: readonly BoundService[]): Record<string, string> | string {
  const files: Record<string, string> = {}
  const names = new Set<string>()
  for (const binding of bindings) {
    const { credentials, ...known } = presentBinding(binding)
    const name = binding.bindingName ?? binding.instanceName
    if (!BINDING_NAME.test(name) || TAKEN.test(name))
      return `Invalid binding name: '${name}'. Name must match ${BINDING_NAME.toString()}`
    if (names.has(name)) return `Duplicate binding name: ${name}`
    names.add(name)
    // What the platform knows overwrites credentials of the same name.
    const entries = { ...(credentials as Record<string, unknown>), ...known, type: binding.label, provider: binding.label }
    for (const [key, value] of Object.entries(entries)) {
      if (!FILE_NAME.test(key) || TAKEN.test(key)) return `Invalid file name: ${key}`
      if (!isEmpty(value)) files[`${name}/${key}`] = typeof value === 'string' ? value : JSON.stringify(value)
    }
  }
  return files
}

const isEmpty = (value: unknown): boolean =>
  value === null || value === undefined || (typeof value === 'object' && Object.keys(value).length === 0)

/** In UTF-8. */
function bytesOf(text: string): number {
  let bytes = 0
  for (const character of text) {
    const point = character.codePointAt(0) ?? 0
    bytes += point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4
  }
  return bytes
}
