/** Where a request's address is taken apart: `host[:port][/path]`, a scheme in front is ignored. */
export interface RequestAddress {
  /** Lower case. */
  readonly host: string
  readonly port: number | undefined
  readonly path: string
}

/** undefined where that is no address. */
export function parseRequestAddress(text: string): RequestAddress | undefined {
  const match = /^(?:[a-z][a-z0-9+.-]*:\/\/)?([\w.*-]+)(?::(\d{1,5}))?(\/[^\s?#]*)?(?:[?#]\S*)?$/i.exec(text.trim())
  if (!match) return undefined
  const port = match[2] === undefined ? undefined : Number(match[2])
  if (port !== undefined && port > 65_535) return undefined
  return { host: (match[1] ?? '').toLowerCase().replace(/\.$/, ''), port, path: match[3] ?? '' }
}

/** `a.b.c` → `a.b.c`, `*.b.c`, `*.c`: the names under which a route for this host may stand, the nearest first. */
export function hostCandidates(host: string): string[] {
  const labels = host.split('.')
  return [host, ...labels.slice(1).map((_, i) => `*.${labels.slice(i + 1).join('.')}`)]
}

/** What is known of one instance behind a route. */
export interface ExplainedInstance {
  readonly appGuid: string
  readonly processType: string
  readonly index: number
  readonly state: string
  readonly routable: boolean
}

export interface ExplainedDestination {
  readonly appGuid: string
  readonly appName: string
  readonly appState: string
  readonly processType: string
  /** How many shall run; none of a stopped app. */
  readonly wantedInstances: number
  readonly instances: readonly ExplainedInstance[]
}

/** What becomes of a request, and why. */
export interface RouteVerdict {
  readonly outcome: 'served' | 'route-service' | 'no-route' | 'no-destination' | 'stopped' | 'no-instance'
  /** What the router answers itself; undefined where an instance or a route service answers. */
  readonly status: 404 | 503 | undefined
  readonly sentence: string
  readonly nextStep: string | undefined
}

/**
 * Why a request for the address is or is not served by the route that stands for it. A route without an instance is passed over by
 * routers, so they answer as if there were none; where some instance should be there, with 503.
 */
export function explainRoute(
  address: string,
  route: { readonly url: string; readonly routeServiceUrl: string | undefined } | undefined,
  destinations: readonly ExplainedDestination[],
): RouteVerdict {
  if (!route)
    return {
      outcome: 'no-route',
      status: 404,
      sentence: `No route stands for ${address}, neither for its host nor for a wildcard above it.`,
      nextStep: 'Map one: cf map-route APP DOMAIN --hostname HOST [--path PATH]. cf domains lists the domains.',
    }
  const unserved = { status: 404 as const }
  if (destinations.length === 0)
    return {
      outcome: 'no-destination',
      ...unserved,
      sentence: `The route ${route.url} leads to no app.`,
      nextStep: 'Map it to one: cf map-route APP DOMAIN with the same hostname, path or port.',
    }
  const serving = destinations
    .flatMap(({ instances }) => instances)
    .filter(({ routable, state }) => routable && state === 'running')
  if (serving.length > 0)
    return route.routeServiceUrl === undefined
      ? {
          outcome: 'served',
          status: undefined,
          sentence: `The route ${route.url} leads to ${count(serving.length, 'instance')} of ${namesOf(destinations)}.`,
          nextStep: undefined,
        }
      : {
          outcome: 'route-service',
          status: undefined,
          sentence: `Requests for ${route.url} go to the route service at ${route.routeServiceUrl} first, and from there to ${count(serving.length, 'instance')} of ${namesOf(destinations)}.`,
          nextStep: undefined,
        }
  if (destinations.every(({ appState }) => appState === 'STOPPED'))
    return {
      outcome: 'stopped',
      ...unserved,
      sentence: `The route ${route.url} leads to ${namesOf(destinations)}, which is stopped.`,
      nextStep: `Start it: cf start ${destinations[0]?.appName ?? 'APP'}`,
    }
  const states = destinations.flatMap(({ instances }) => instances).map(({ index, state }) => `${index} ${state}`)
  return {
    outcome: 'no-instance',
    status: destinations.some(({ wantedInstances }) => wantedInstances > 0) ? 503 : 404,
    sentence: `The route ${route.url} leads to ${namesOf(destinations)}, of which no instance takes requests now${states.length > 0 ? ` (${states.join(', ')})` : ''}.`,
    nextStep: `See why: cf app ${destinations[0]?.appName ?? 'APP'}, cf logs ${destinations[0]?.appName ?? 'APP'} --recent`,
  }
}

const count = (number: number, what: string): string => `${number} ${what}${number === 1 ? '' : 's'}`
const namesOf = (destinations: readonly ExplainedDestination[]): string =>
  [
    ...new Set(destinations.map(({ appName, processType }) => (processType === 'web' ? appName : `${appName} (${processType})`))),
  ].join(', ')
