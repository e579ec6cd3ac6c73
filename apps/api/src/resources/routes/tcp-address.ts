import { includesPort, parsePortRanges, pickPort } from '@bloomery/domain'
import type { Transaction } from '@bloomery/database'
import { unprocessable } from '../../http/errors.js'
import type { NewRoute, RouteAddress } from './new-route.js'
import { choosesByServerName } from './route-options.js'

/**
 * The port of a TCP route: the one asked for, or a free one of the domain's router group. A port has one route, or, by the option
 * `sni`, several that differ in their host; those of one port that has a route for every name too belong to one space.
 */
export async function takeTcpAddress(tx: Transaction, route: NewRoute, groupGuid: string): Promise<RouteAddress> {
  const { domain, space, path = '', port } = route
  const host = (route.host ?? '').toLowerCase()
  if (path !== '') throw unprocessable('Paths are not supported for TCP routes.')
  const byName = choosesByServerName(route.options)
  if (host !== '' && !byName) throw unprocessable('Hosts are not supported for TCP routes.')
  if (byName && host === '')
    throw unprocessable("A TCP route with the option 'sni' must have a host: the TLS server name is host and domain.")
  if (byName && !/^[\w-]{1,63}$/.test(host)) throw unprocessable('Host format is invalid.')
  const group = await tx.routerGroup.findUnique({ where: { guid: groupGuid } })
  if (!group) throw unprocessable('Route could not be created because the specified domain does not have a valid router group.')
  if (port === 0) throw unprocessable("Routes with protocol 'tcp' must specify a port.")

  // Until commit nobody else reserves a port of the group.
  await tx.$executeRaw`SELECT pg_advisory_xact_lock(hashtextextended(${`bloomery:router-group:${groupGuid}`}, 0))`
  const ranges = parsePortRanges(group.reservablePorts) ?? []
  const reserved = await tx.route.findMany({
    where: { port: { gt: 0 }, domain: { routerGroupGuid: groupGuid } },
    select: { port: true, host: true, domainGuid: true, spaceGuid: true },
  })
  if (port === undefined) {
    const free = pickPort(ranges, new Set(reserved.map((each) => each.port)), Math.random())
    if (free === undefined) throw unprocessable('There are no more ports available for this domain.')
    return { host, path: '', port: free }
  }
  if (!includesPort(ranges, port)) throw notAvailable(port)
  const onPort = reserved.filter((each) => each.port === port)
  if (onPort.some((each) => each.host === host && each.domainGuid === domain.guid))
    throw unprocessable(
      host === ''
        ? `Route already exists with port '${port}' for domain '${domain.name}'.`
        : `Route already exists with host '${host}' and port '${port}' for domain '${domain.name}'.`,
    )
  const own = onPort.every((each) => each.spaceGuid === space.guid)
  const hasCatchAll = host === '' || onPort.some((each) => each.host === '')
  if (onPort.length > 0 && ((hasCatchAll && !own) || (host === '' && onPort.some((each) => each.host === ''))))
    throw notAvailable(port)
  return { host, path: '', port }
}

const notAvailable = (port: number) =>
  unprocessable(`Port '${port}' is not available. Try a different port or use a different domain.`)
