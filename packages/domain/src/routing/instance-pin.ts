/** One instance, or all of a process, that a request asks for by header. */
export interface InstancePin {
  readonly kind: 'app' | 'process'
  readonly guid: string
  /** Decimal; absent: any instance of the process. */
  readonly index?: number
}

const GUID = '[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}'
const APP = new RegExp(`^(${GUID}):(\\d{1,9})$`)
const PROCESS = new RegExp(`^(${GUID})(?::(\\d{1,9}))?$`)

/** Reads `X-CF-APP-INSTANCE` (`<guid>:<index>`) or `X-CF-PROCESS-INSTANCE` (`<guid>` or `<guid>:<index>`); undefined when malformed. */
export function parseInstancePin(kind: InstancePin['kind'], value: string): InstancePin | undefined {
  const match = (kind === 'app' ? APP : PROCESS).exec(value)
  const guid = match?.[1]
  if (guid === undefined) return undefined
  return match?.[2] === undefined ? { kind, guid } : { kind, guid, index: Number(match[2]) }
}

/** Whether the endpoint is (one of) what the pin asks for. */
export const isPinned = (
  pin: InstancePin,
  endpoint: { readonly appGuid: string; readonly processGuid: string; readonly index: number },
): boolean =>
  (pin.kind === 'app' ? endpoint.appGuid : endpoint.processGuid) === pin.guid &&
  (pin.index === undefined || endpoint.index === pin.index)
