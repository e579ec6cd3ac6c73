import type { DestinationSlice } from './choose-endpoint.js'

interface WeighedEndpoint {
  readonly appGuid: string
  readonly processType: string
  readonly localAddress: string
  readonly weight?: number | undefined
}

/** The slices of a route's endpoints by destination, which stand together; undefined where destinations have no weights. */
export function destinationSlices(endpoints: readonly WeighedEndpoint[]): readonly DestinationSlice[] | undefined {
  if (!endpoints.some(({ weight }) => weight !== undefined)) return undefined
  const slices: DestinationSlice[] = []
  let from = 0
  for (let i = 1; i <= endpoints.length; i++) {
    const [first, next] = [endpoints[from], endpoints[i]]
    if (first === undefined || (next !== undefined && destinationOf(first) === destinationOf(next))) continue
    slices.push({ from, to: i, weight: first.weight ?? 0 })
    from = i
  }
  return slices
}

const destinationOf = ({ appGuid, processType, localAddress }: WeighedEndpoint): string =>
  `${appGuid}/${processType}${localAddress.slice(localAddress.lastIndexOf(':'))}`
