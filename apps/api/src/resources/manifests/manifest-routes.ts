import { matchRouteAddress, type AppManifest, type ManifestRoute, type RouteParts } from '@bloomery/domain'
import type { Domain, Route, Transaction } from '@bloomery/database'
import type { Context } from '../../http/context.js'
import { CfError } from '@bloomery/contracts'
import { unprocessable } from '../../http/errors.js'
import { isFeatureEnabled, requireFeature } from '../../http/feature-flags.js'
import type { JobActor } from '../../jobs/jobs.js'
import type { AppInSpace } from '../apps/find-app.js'
import { domainsOf } from '../domains/list-domains.js'
import { createRoute } from '../routes/create-route.js'
import { addDestinations, removeDestination } from '../routes/destinations.js'
import { routeUrl } from '../routes/presenter.js'
import { mergeRouteOptions } from '../routes/route-options.js'
import { hostOfName, randomHost } from './host-names.js'

/** Gives an app the routes that its manifest asks for: listed ones are added, a random or default one only where there is none yet. */
export async function applyRoutes(
  tx: Transaction,
  context: Pick<Context, 'settings'>,
  actor: JobActor,
  app: AppInSpace,
  manifest: AppManifest,
): Promise<void> {
  const present = await tx.routeDestination.findMany({ where: { appGuid: app.guid }, include: { route: true } })
  if (manifest.noRoute) {
    for (const { route, ...destination } of present) await removeDestination(tx, actor, route, destination)
    return
  }
  if (manifest.routes && manifest.routes.length > 0) {
    const domains = await tx.domain.findMany({ where: domainsOf({ guid: app.space.organizationGuid }) })
    for (const wish of manifest.routes)
      await naming(wish.route, async () => {
        const parts = matchRouteAddress(wish.route, domains)
        if (!parts) throw unprocessable(`No domains exist for route ${wish.route}`)
        await mapRoute(tx, context, actor, app, parts, wish)
      })
    return
  }
  // `routes: []` is an answer too.
  if (manifest.routes || present.length > 0 || !(manifest.randomRoute || manifest.defaultRoute)) return
  const domain = await findDefaultDomain(tx, app)
  const host = manifest.randomRoute ? await findFreeHost(tx, app, domain) : hostOfName(app.name)
  if (host === '')
    throw unprocessable(
      `The app's name '${app.name}' gives no host name for a route; add routes to the manifest, or use no-route.`,
    )
  const address = routeUrl({ host, path: '', port: 0 }, domain)
  await naming(address, () => mapRoute(tx, context, actor, app, { domain, host, path: '', port: undefined }, { route: address }))
}

async function naming(route: string, work: () => Promise<void>): Promise<void> {
  try {
    await work()
  } catch (error) {
    throw error instanceof CfError
      ? new CfError(
          error.kind,
          error.details.map((detail) => `For route '${route}': ${detail}`),
          { cause: error },
        )
      : error
  }
}

async function mapRoute(
  tx: Transaction,
  context: Pick<Context, 'settings'>,
  actor: JobActor,
  app: AppInSpace,
  { domain, host, path, port }: RouteParts<Domain>,
  wish: ManifestRoute,
): Promise<void> {
  const present = await tx.route.findUnique({
    where: { domainGuid_host_path_port: { domainGuid: domain.guid, host, path, port: port ?? 0 } },
  })
  if (present && present.spaceGuid !== app.spaceGuid)
    throw unprocessable(
      'Routes cannot be mapped to destinations in different spaces; another space uses this route, so choose another host or path.',
    )
  const options = wish.options
    ? mergeRouteOptions(present?.options ?? {}, wish.options, {
        hashRouting: await isFeatureEnabled(tx, 'hash_based_routing'),
        tcp: domain.routerGroupGuid !== null,
      })
    : undefined
  if (present && options) await tx.route.update({ where: { guid: present.guid }, data: { options } })
  if (!present && !actor.isAdmin) await requireFeature(tx, 'route_creation')
  const route =
    present ??
    (await createRoute(
      tx,
      context,
      { actor, manifestTriggered: true },
      { space: app.space, domain, host, path, port, ...(options ? { options } : {}) },
    ))
  await mapTo(tx, actor, app, route, wish.protocol)
}

async function mapTo(
  tx: Transaction,
  actor: JobActor,
  app: AppInSpace,
  route: Route,
  protocol: string | undefined,
): Promise<void> {
  const mapped = await tx.routeDestination.findFirst({
    where: { routeGuid: route.guid, appGuid: app.guid, processType: 'web' },
  })
  if (!mapped)
    return addDestinations(tx, actor, route, [{ appGuid: app.guid, processType: 'web', protocol }], { manifestTriggered: true })
  if (protocol !== undefined && (mapped.protocol ?? 'http1') !== protocol)
    await tx.routeDestination.update({ where: { guid: mapped.guid }, data: { protocol } })
}

/** The oldest shared domain; an organization without any uses its own. */
async function findDefaultDomain(tx: Transaction, app: AppInSpace): Promise<Domain> {
  const orderBy = { sequence: 'asc' as const }
  const domain =
    (await tx.domain.findFirst({ where: { organizationGuid: null, internal: false, routerGroupGuid: null }, orderBy })) ??
    (await tx.domain.findFirst({ where: { organizationGuid: app.space.organizationGuid }, orderBy }))
  if (!domain) throw unprocessable('No default domain available; create a domain, add routes to the manifest, or use no-route.')
  return domain
}

async function findFreeHost(tx: Transaction, app: AppInSpace, domain: Domain): Promise<string> {
  let host = randomHost(app.name)
  for (let attempt = 0; attempt < 5; attempt++) {
    if ((await tx.route.count({ where: { domainGuid: domain.guid, host } })) === 0) return host
    host = randomHost(app.name)
  }
  return host
}
