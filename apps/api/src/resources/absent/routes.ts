import type { FastifyInstance } from 'fastify'
import { notFound } from '../../http/errors.js'
import { parseListQuery, presentList } from '../../http/lists.js'

interface Absent {
  readonly path: string
  readonly name: string
  readonly filters: readonly string[]
  readonly include?: readonly string[]
}

/** What this platform has none of, and clients read in passing: lists that are empty, single ones that are not found. */
const ABSENT: readonly Absent[] = [
  { path: 'isolation_segments', name: 'Isolation segment', filters: ['names', 'organization_guids'] },
  {
    path: 'security_groups',
    name: 'Security group',
    filters: ['names', 'globally_enabled_running', 'globally_enabled_staging', 'running_space_guids', 'staging_space_guids'],
  },
]

export function absentRoutes(app: FastifyInstance): void {
  for (const { path, name, filters, include } of ABSENT) {
    const config = { config: { permission: 'authenticated' } } as const
    app.get(`/v3/${path}`, config, async (request) => {
      const query = parseListQuery(request, {
        filters,
        orderBy: { name: 'name' },
        ...(include ? { include } : {}),
      })
      return presentList(request, query, { rows: [], total: 0 }, (none: never) => none)
    })
    app.get(`/v3/${path}/:guid`, config, async () => {
      throw notFound(name)
    })
  }

  // The network policy API answers an object of its own.
  app.get('/networking/v1/external/policies', { config: { permission: 'authenticated' } }, async () => ({
    total_policies: 0,
    policies: [],
  }))
}
