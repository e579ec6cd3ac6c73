import { randomUUID } from 'node:crypto'
import type { App, Route, RouteDestination, Transaction } from '@bloomery/database'
import { recordAudit } from '../../http/audit.js'
import { unprocessable } from '../../http/errors.js'
import type { JobActor } from '../../jobs/jobs.js'
import { DEFAULT_APP_PORT, defaultProtocol } from './presenter.js'

/** Where a route leads: a process of an app, by type. */
export interface NewDestination {
  readonly appGuid: string
  readonly processType?: string | undefined
  readonly port?: number | null | undefined
  readonly weight?: number | null | undefined
  readonly protocol?: string | null | undefined
}
const MAX_DESTINATIONS = 100
/** How instances may be spoken to, by the route's protocol. */
const PROTOCOLS_OF: Readonly<Record<string, readonly string[]>> = { http: ['http1', 'http2'], tcp: ['tcp'] }

/** Adds what is not there yet. Throws CfError with the reference's words. */
export async function addDestinations(
  tx: Transaction,
  actor: JobActor,
  route: Route,
  wanted: readonly NewDestination[],
  options: { readonly manifestTriggered?: boolean } = {},
): Promise<void> {
  const apps = await appsOf(tx, route, wanted)
  const present = await lockDestinations(tx, route)
  if (present.length + wanted.length > MAX_DESTINATIONS) throw unprocessable('Routes can be mapped to at most 100 destinations.')
  refuseDuplicates(wanted)
  if (present.some((each) => each.weight !== null))
    throw unprocessable('Destinations cannot be inserted when there are weighted destinations already configured.')
  const added = wanted.filter((destination) => {
    const same = present.find((each) => keyOf(each) === keyOf(destination))
    if (same && destination.protocol != null && (same.protocol ?? defaultProtocol(route)) !== destination.protocol)
      throw unprocessable(
        `Cannot add destination with protocol: ${destination.protocol}. Destination already exists for route: ${route.host}, app: ${destination.appGuid}, process: ${same.processType}, and protocol: ${same.protocol ?? defaultProtocol(route)}.`,
      )
    return !same
  })
  await insert(tx, actor, route, apps, added, options.manifestTriggered ?? false)
}

/** Makes the route lead there and nowhere else. Destinations that stay keep their guid. */
export async function replaceDestinations(
  tx: Transaction,
  actor: JobActor,
  route: Route,
  wanted: readonly NewDestination[],
): Promise<void> {
  const apps = await appsOf(tx, route, wanted)
  const present = await lockDestinations(tx, route)
  if (wanted.length > MAX_DESTINATIONS) throw unprocessable('Routes can be mapped to at most 100 destinations.')
  refuseDuplicates(wanted)
  const wish = new Set(wanted.map(wholeKeyOf))
  const kept = new Set(present.filter((each) => wish.has(wholeKeyOf(each))).map(wholeKeyOf))
  for (const gone of present.filter((each) => !kept.has(wholeKeyOf(each)))) await removeDestination(tx, actor, route, gone)
  const added = wanted.filter((each) => !kept.has(wholeKeyOf(each)))
  await insert(tx, actor, route, apps, added, false)
}

export async function removeDestination(
  tx: Transaction,
  actor: JobActor,
  route: Route,
  destination: RouteDestination,
): Promise<void> {
  await tx.routeDestination.deleteMany({ where: { guid: destination.guid } })
  const app = await tx.app.findUnique({ where: { guid: destination.appGuid } })
  if (!app) return
  await updateProcessPorts(tx, destination.appGuid, destination.processType)
  await recordMapping(tx, actor, 'unmap', route, app, destination, false)
}

async function insert(
  tx: Transaction,
  actor: JobActor,
  route: Route,
  apps: ReadonlyMap<string, App>,
  added: readonly NewDestination[],
  manifestTriggered: boolean,
): Promise<void> {
  for (const destination of added) {
    const app = apps.get(destination.appGuid)
    if (!app) continue
    refuseProtocol(route, destination.protocol)
    const row = await tx.routeDestination.create({
      data: {
        guid: randomUUID(),
        routeGuid: route.guid,
        appGuid: app.guid,
        processType: destination.processType ?? 'web',
        port: destination.port ?? null,
        weight: destination.weight ?? null,
        protocol: destination.protocol ?? null,
      },
    })
    await updateProcessPorts(tx, app.guid, row.processType)
    await recordMapping(tx, actor, 'map', route, app, row, manifestTriggered)
  }
}

export function refuseProtocol(route: Pick<Route, 'protocol'>, protocol: string | null | undefined): void {
  const protocols = PROTOCOLS_OF[route.protocol] ?? []
  if (protocol == null || protocols.includes(protocol)) return
  throw unprocessable(
    `Cannot use '${protocol}' protocol for ${route.protocol} routes; valid options are: [${protocols.join(', ')}].`,
  )
}

async function appsOf(tx: Transaction, route: Route, wanted: readonly NewDestination[]): Promise<Map<string, App>> {
  const guids = [...new Set(wanted.map(({ appGuid }) => appGuid))]
  const apps = new Map((await tx.app.findMany({ where: { guid: { in: guids } } })).map((app) => [app.guid, app]))
  const missing = guids.filter((guid) => !apps.has(guid))
  if (missing.length > 0)
    throw unprocessable(`App(s) with guid(s) "${missing.join('", "')}" do not exist or you do not have access.`)
  const sharedWith = await tx.routeSharing.findMany({ where: { routeGuid: route.guid }, select: { spaceGuid: true } })
  const spaces = new Set([route.spaceGuid, ...sharedWith.map(({ spaceGuid }) => spaceGuid)])
  if ([...apps.values()].some((app) => !spaces.has(app.spaceGuid)))
    throw unprocessable("Routes destinations must be in either the route's space or the route's shared spaces")
  return apps
}

/** The route's row lock keeps two changes of one route apart. */
async function lockDestinations(tx: Transaction, route: Route): Promise<RouteDestination[]> {
  await tx.$executeRaw`SELECT 1 FROM routes WHERE guid = ${route.guid} FOR NO KEY UPDATE`
  return tx.routeDestination.findMany({ where: { routeGuid: route.guid } })
}

const keyOf = ({ appGuid, processType, port }: NewDestination): string =>
  JSON.stringify([appGuid, processType ?? 'web', port ?? DEFAULT_APP_PORT])
const wholeKeyOf = (destination: NewDestination): string =>
  JSON.stringify([keyOf(destination), destination.weight ?? null, destination.protocol === 'http2' ? 'http2' : 'default'])

function refuseDuplicates(wanted: readonly NewDestination[]): void {
  if (new Set(wanted.map(wholeKeyOf)).size < wanted.length) throw unprocessable('Destinations cannot contain duplicate entries')
}

/** Ports beyond the default one are opened at the process's next start. */
async function updateProcessPorts(tx: Transaction, appGuid: string, type: string): Promise<void> {
  const found = await tx.routeDestination.findMany({ where: { appGuid, processType: type }, select: { port: true } })
  const ports = [...new Set(found.map(({ port }) => port ?? DEFAULT_APP_PORT))].sort((a, b) => a - b)
  const isDefault = ports.length === 0 || (ports.length === 1 && ports[0] === DEFAULT_APP_PORT)
  await tx.process.updateMany({ where: { appGuid, type }, data: { ports: isDefault ? [] : ports } })
}

async function recordMapping(
  tx: Transaction,
  actor: JobActor,
  act: 'map' | 'unmap',
  route: Route,
  app: App,
  destination: RouteDestination,
  manifestTriggered: boolean,
): Promise<void> {
  const space = await tx.space.findUniqueOrThrow({ where: { guid: route.spaceGuid } })
  await recordAudit(tx, actor, {
    type: `audit.app.${act}-route`,
    target: { type: 'app', guid: app.guid, name: app.name },
    spaceGuid: space.guid,
    organizationGuid: space.organizationGuid,
    data: {
      route_guid: route.guid,
      app_port: destination.port ?? DEFAULT_APP_PORT,
      destination_guid: destination.guid,
      route_mapping_guid: destination.guid,
      process_type: destination.processType,
      protocol: destination.protocol ?? defaultProtocol(route),
      weight: destination.weight,
      manifest_triggered: manifestTriggered,
    },
  })
}
