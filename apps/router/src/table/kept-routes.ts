import type { RouteEndpoint, RouteEntry } from '@bloomery/contracts'

/** So many routes may be open at a time: a few megabytes. */
const OPEN_AT_MOST = 16_384
const BETWEEN = ' '

const PLAIN: Rest = Object.freeze({ protocol: 'http', options: Object.freeze({}) })

type Endpoints = RouteEndpoint[]
type Rest = Omit<RouteEntry, 'routeGuid' | 'host' | 'path' | 'endpoints'>
/** Of a text in the packing's list. */
type TextNumber = number
/** An endpoint without its instance's guid; texts that many share by their numbers, absent ones as 0. */
type PackedEndpoint = [
  appGuid: string,
  appName: string,
  space: TextNumber,
  organization: TextNumber,
  /** 0: that of the app, as an app's first process has it. */
  processGuid: string | 0,
  processType: TextNumber,
  index: number,
  cell: TextNumber,
  localAddress: string,
  hostAddress: string,
  protocol: TextNumber,
  tlsAddress?: TextNumber,
  zone?: TextNumber,
  weight?: number,
]
interface Opened {
  readonly rest: Rest
  readonly endpoints: Endpoints
}

/**
 * A route as tables keep it. Most routes of a large table serve nobody at the moment, so all that is not needed to find a route
 * is one text, a third the size of the objects; it is opened for the first request, and closed again when many others were.
 */
export class KeptRoute implements RouteEntry {
  private opened: Opened | undefined = undefined

  constructor(
    readonly routeGuid: string,
    readonly host: string,
    readonly path: string,
    /** Guids of its instances, with a blank between them. */
    readonly instances: string,
    private readonly packed: string,
    private readonly packing: RoutePacking,
  ) {}

  get isServed(): boolean {
    return this.instances !== ''
  }
  get isTcp(): boolean {
    return this.packed.startsWith('[{"protocol":"tcp"')
  }
  /** Takes the guids of its instances out of the map. */
  strikeOut(guids: Map<string, unknown>): void {
    if (!this.instances.includes(BETWEEN)) guids.delete(this.instances)
    else for (const guid of this.instances.split(BETWEEN)) guids.delete(guid)
  }
  get endpoints(): Endpoints {
    return this.open().endpoints
  }
  get protocol(): RouteEntry['protocol'] {
    return this.open().rest.protocol
  }
  get options(): RouteEntry['options'] {
    return this.open().rest.options
  }
  get port(): number | undefined {
    return this.open().rest.port
  }
  get routeServiceUrl(): string | undefined {
    return this.open().rest.routeServiceUrl
  }
  get routeServiceTrusted(): boolean | undefined {
    return this.open().rest.routeServiceTrusted
  }
  get unserved(): boolean | undefined {
    return this.open().rest.unserved
  }

  /** Whether both say the same of the same route. */
  equals(other: KeptRoute): boolean {
    return (
      this.routeGuid === other.routeGuid &&
      this.host === other.host &&
      this.path === other.path &&
      this.instances === other.instances &&
      this.packed === other.packed
    )
  }

  /** The route as the feed has it. Opens nothing for longer. */
  toJSON(): RouteEntry {
    const { routeGuid, host, path } = this
    const { rest, endpoints } = this.opened ?? this.packing.unpack(this.instances, this.packed)
    return { routeGuid, host, path, ...rest, endpoints }
  }

  close(): void {
    this.opened = undefined
  }

  private open(): Opened {
    if (this.opened) return this.opened
    this.opened = this.packing.unpack(this.instances, this.packed)
    this.packing.noteOpened(this)
    return this.opened
  }
}

/** Packs the routes of one table, and bounds how many of them are open. */
export class RoutePacking {
  readonly #texts: string[] = ['']
  readonly #numbers = new Map<string, number>()
  readonly #open: (KeptRoute | undefined)[] = []
  #next = 0

  pack({ routeGuid, host, path, endpoints, ...rest }: RouteEntry): KeptRoute {
    const instances = endpoints.map(({ instanceGuid }) => instanceGuid).join(BETWEEN)
    const packed = JSON.stringify([this.#packRest(rest), ...endpoints.map((endpoint) => this.#packEndpoint(endpoint))])
    return new KeptRoute(routeGuid, host, path, instances, packed, this)
  }

  unpack(instances: string, packed: string): Opened {
    const [rest, ...endpoints] = JSON.parse(packed) as [0 | Rest, ...PackedEndpoint[]]
    const guids = instances.split(BETWEEN)
    return {
      rest: rest === 0 ? PLAIN : rest,
      endpoints: endpoints.map((endpoint, i) => this.#unpackEndpoint(guids[i] ?? '', endpoint)),
    }
  }

  noteOpened(route: KeptRoute): void {
    const before = this.#open[this.#next]
    before?.close()
    this.#open[this.#next] = route
    this.#next = (this.#next + 1) % OPEN_AT_MOST
  }

  /** Nearly all routes say nothing here; those that do say it for themselves. */
  #packRest({ protocol, options, ...rare }: Rest): 0 | Rest {
    if (protocol === 'http' && Object.keys(options).length === 0 && Object.values(rare).every((value) => value === undefined))
      return 0
    const sorted = Object.entries(options).sort(([one], [other]) => (one < other ? -1 : 1))
    const { port, routeServiceUrl, routeServiceTrusted, unserved } = rare
    return { protocol, options: Object.fromEntries(sorted), port, routeServiceUrl, routeServiceTrusted, unserved }
  }

  #packEndpoint(endpoint: RouteEndpoint): PackedEndpoint {
    const { appGuid, processGuid, tlsAddress, zone, weight } = endpoint
    const packed: PackedEndpoint = [
      appGuid,
      endpoint.appName,
      this.#number(endpoint.spaceGuid),
      this.#number(endpoint.organizationGuid),
      processGuid === appGuid ? 0 : processGuid,
      this.#number(endpoint.processType),
      endpoint.index,
      this.#number(endpoint.cellId),
      endpoint.localAddress,
      endpoint.hostAddress,
      this.#number(endpoint.protocol),
    ]
    if (tlsAddress === undefined && zone === undefined && weight === undefined) return packed
    packed.push(tlsAddress === undefined ? 0 : this.#number(tlsAddress), zone === undefined ? 0 : this.#number(zone))
    if (weight !== undefined) packed.push(weight)
    return packed
  }

  #unpackEndpoint(instanceGuid: string, packed: PackedEndpoint): RouteEndpoint {
    const [appGuid, appName, space, organization, processGuid, processType, index, cell, localAddress, hostAddress, protocol] =
      packed
    const [, , , , , , , , , , , tlsAddress = 0, zone = 0, weight] = packed
    const endpoint: RouteEndpoint = {
      instanceGuid,
      appGuid,
      appName,
      spaceGuid: this.#text(space),
      organizationGuid: this.#text(organization),
      processGuid: processGuid === 0 ? appGuid : processGuid,
      processType: this.#text(processType),
      index,
      cellId: this.#text(cell),
      localAddress,
      hostAddress,
      protocol: this.#text(protocol) as RouteEndpoint['protocol'],
    }
    if (tlsAddress !== 0) endpoint.tlsAddress = this.#text(tlsAddress)
    if (zone !== 0) endpoint.zone = this.#text(zone)
    if (weight !== undefined) endpoint.weight = weight
    return endpoint
  }

  /** Spaces, organizations, cells and process types are few compared with routes, and come again. */
  #number(text: string): number {
    const known = this.#numbers.get(text)
    if (known !== undefined) return known
    const number = this.#texts.push(text) - 1
    this.#numbers.set(text, number)
    return number
  }

  #text(number: number): string {
    return this.#texts[number] ?? ''
  }
}
