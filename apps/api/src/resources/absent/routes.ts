import type { FastifyInstance } from 'fastify'
import type { Context } from '../../http/context.js'
import { notFound } from '../../http/errors.js'
import { parseListQuery, presentList } from '../../http/lists.js'

/** What this platform has none of, and clients read in passing: lists that are empty, single ones that are not found. */
const ABSENT = [
  { path: 'isolation_segments', name: 'Isolation segment', filters: ['names', 'organization_guids'] },
  {
    path: 'security_groups',
    name: 'Security group',
    filters: ['names', 'globally_enabled_running', 'globally_enabled_staging', 'running_space_guids', 'staging_space_guids'],
  },
  { path: 'service_route_bindings', name: 'Service route binding', filters: ['route_guids', 'service_instance_guids'] },
] as const

export function absentRoutes(app: FastifyInstance, _context: Context): void {
  for (const { path, name, filters } of ABSENT) {
    app.get(`/v3/${path}`, { config: { permission: 'authenticated' } }, async (request) => {
      const query = parseListQuery(request, {
        filters,
        orderBy: { name: 'name' },
        include: ['route', 'service_instance'],
      })
      return presentList(request, query, { rows: [], total: 0 }, (none: never) => none)
    })
    app.get(`/v3/${path}/:guid`, { config: { permission: 'authenticated' } }, async () => {
      throw notFound(name)
    })
  }

  // The routing API answers a plain array.
  app.get('/routing/v1/router_groups', { config: { permission: 'authenticated' } }, async () => [])
}
