import { randomUUID } from 'node:crypto'
import type { Prisma } from '@bloomery/database'
import { type Domain, type Route, type Space, type Transaction } from '@bloomery/database'
import { recordAudit } from '../../http/audit.js'
import type { Context } from '../../http/context.js'
import { unprocessable } from '../../http/errors.js'
import type { JobActor } from '../../jobs/jobs.js'
import { isReservedHost } from '../domains/reserved-names.js'
import { isDomainUsableBy } from '../domains/domain-usability.js'
import { requireRouteQuota } from './route-quota.js'
import type { NewRoute, RouteAddress } from './new-route.js'
import { takeTcpAddress } from './tcp-address.js'

/**
 * Creates a route in the caller's transaction, or throws CfError with the reference's words. Routes of one domain and host are made one
 * after another, so that two spaces never get one host at the same moment.
 */
export async function createRoute(
  tx: Transaction,
  { settings }: Pick<Context, 'settings'>,
  by: { readonly actor: JobActor; readonly manifestTriggered?: boolean },
  route: NewRoute,
): Promise<Route> {
  const { space, domain } = route
  if (!(await isDomainUsableBy(tx, domain, space.organizationGuid)))
    throw unprocessable(`Invalid domain. Domain '${domain.name}' is not available in organization '${space.organization.name}'.`)
  const address =
    domain.routerGroupGuid === null
      ? await takeHttpAddress(tx, settings, by.actor.isAdmin, route)
      : await takeTcpAddress(tx, route, domain.routerGroupGuid)
  await requireRouteQuota(tx, space, address.port > 0 ? { routes: 1, reservedPorts: 1 } : { routes: 1 })

  const guid = randomUUID()
  const created = await tx.route.create({
    data: {
      guid,
      ...address,
      protocol: address.port > 0 ? 'tcp' : 'http',
      domainGuid: domain.guid,
      spaceGuid: space.guid,
      options: route.options ?? {},
      labels: route.metadata?.labels ?? {},
      annotations: route.metadata?.annotations ?? {},
    },
  })
  await recordAudit(tx, by.actor, {
    type: 'audit.route.create',
    target: { type: 'route', guid, name: address.host },
    spaceGuid: space.guid,
    organizationGuid: space.organizationGuid,
    data: {
      manifest_triggered: by.manifestTriggered ?? false,
      request: {
        host: address.host,
        path: address.path,
        ...(address.port > 0 ? { port: address.port } : {}),
        domain: domain.name,
        space: space.name,
      },
    } satisfies Prisma.InputJsonObject,
  })
  return created
}

/** Refuses what is no good or somebody else's; until commit nobody else takes it. */
async function takeHttpAddress(
  tx: Transaction,
  settings: Context['settings'],
  isAdmin: boolean,
  { space, domain, path = '', port, ...route }: NewRoute,
): Promise<RouteAddress> {
  const host = (route.host ?? '').toLowerCase()
  if (port !== undefined && port !== 0) throw unprocessable("Routes with protocol 'http' do not support ports.")
  const fqdn = host === '' ? domain.name : `${host}.${domain.name}`
  refuseBadHost(host, path, fqdn, domain, isAdmin)
  if (isReservedHost(settings, fqdn)) throw unprocessable('Route conflicts with a reserved system route.')

  await tx.$executeRaw`SELECT pg_advisory_xact_lock(hashtextextended(${`bloomery:route:${fqdn}`}, 0))`
  if (host !== '' && (await tx.domain.findFirst({ where: { name: { equals: fqdn, mode: 'insensitive' } } })))
    throw unprocessable(`Route conflicts with domain '${fqdn}'.`)
  await refuseTaken(tx, space, domain, host, path)
  return { host, path, port: 0 }
}

function refuseBadHost(host: string, path: string, fqdn: string, domain: Domain, isAdmin: boolean): void {
  const isShared = domain.organizationGuid === null
  if (host !== '' && !/^(?:[\w-]{1,63}|\*)$/.test(host)) throw unprocessable('Host format is invalid.')
  if (host === '*' && domain.internal) throw unprocessable('Wildcard hosts are not supported for internal domains.')
  if (host === '*' && isShared && !isAdmin)
    throw unprocessable(
      'You do not have sufficient permissions to create a route with a wildcard host on a domain not scoped to an organization.',
    )
  if (host === '' && isShared) throw unprocessable('Missing host. Routes in shared domains must have a host defined.')
  if (fqdn.length > 253) throw unprocessable('Host combined with domain name must be no more than 253 characters.')
  if (path === '') return
  if (domain.internal) throw unprocessable('Paths are not supported for internal domains.')
  if (path === '/') throw unprocessable("Path cannot be a single '/'.")
  if (!path.startsWith('/')) throw unprocessable("Path is missing the beginning '/'.")
  if (path.includes('?')) throw unprocessable("Path cannot contain '?'.")
  if (path.length > 128) throw unprocessable('Path exceeds 128 characters.')
  if (!URL.canParse(`pathcheck://host${path}`) || /[\s#]/.test(path)) throw unprocessable('Path is invalid.')
}

async function refuseTaken(tx: Transaction, space: Space, domain: Domain, host: string, path: string): Promise<void> {
  const sameHost = await tx.route.findMany({
    where: { domainGuid: domain.guid, host, port: 0 },
    select: { path: true, spaceGuid: true },
  })
  if (sameHost.some((each) => each.path === path)) {
    const place = [host === '' ? '' : `host '${host}'`, path === '' ? '' : `path '${path}'`].filter(Boolean).join(' and ')
    throw unprocessable(`Route already exists ${place === '' ? '' : `with ${place} `}for domain '${domain.name}'.`)
  }
  // Paths below one host of a shared domain belong to one space: nobody takes a part of another's address.
  if (domain.organizationGuid === null && sameHost.some((each) => each.spaceGuid !== space.guid))
    throw unprocessable(
      `Host '${host}' of domain '${domain.name}' is in use by a route in another space; choose another host, or create the route in that space.`,
    )
}
