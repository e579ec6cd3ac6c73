import type { FastifyInstance } from 'fastify'
import { CfError } from '@bloomery/contracts'
import type { Context } from '../../http/context.js'
import { notFound } from '../../http/errors.js'
import { isFeatureEnabled } from '../../http/feature-flags.js'
import { parseListQuery, presentList } from '../../http/lists.js'

interface Absent {
  readonly path: string
  readonly name: string
  readonly filters: readonly string[]
  readonly include?: readonly string[]
  readonly fields?: readonly string[]
  /** The marketplace is open to whoever has not logged in. */
  readonly open?: true
}

/** What this platform has none of, and clients read in passing: lists that are empty, single ones that are not found. */
const ABSENT: readonly Absent[] = [
  { path: 'isolation_segments', name: 'Isolation segment', filters: ['names', 'organization_guids'] },
  {
    path: 'security_groups',
    name: 'Security group',
    filters: ['names', 'globally_enabled_running', 'globally_enabled_staging', 'running_space_guids', 'staging_space_guids'],
  },
  {
    path: 'service_route_bindings',
    name: 'Service route binding',
    filters: ['route_guids', 'service_instance_guids', 'service_instance_names'],
    include: ['route', 'service_instance'],
  },
  { path: 'service_brokers', name: 'Service broker', filters: ['names', 'space_guids'] },
  {
    path: 'service_offerings',
    name: 'Service offering',
    filters: ['names', 'available', 'service_broker_guids', 'service_broker_names', 'space_guids', 'organization_guids'],
    fields: ['service_broker'],
    open: true,
  },
  {
    path: 'service_plans',
    name: 'Service plan',
    filters: [
      'names',
      'available',
      'broker_catalog_ids',
      'space_guids',
      'organization_guids',
      'service_broker_guids',
      'service_broker_names',
      'service_offering_guids',
      'service_offering_names',
      'service_instance_guids',
    ],
    include: ['service_offering', 'space.organization'],
    fields: ['service_offering.service_broker'],
    open: true,
  },
]

export function absentRoutes(app: FastifyInstance, { db }: Context): void {
  for (const { path, name, filters, include, fields, open } of ABSENT) {
    const config = { config: { permission: open ? 'public' : 'authenticated' } } as const
    app.get(`/v3/${path}`, config, async (request) => {
      if (open && request.headers.authorization === undefined) await requireOpenMarketplace()
      const query = parseListQuery(request, {
        filters,
        orderBy: { name: 'name' },
        ...(include ? { include } : {}),
        ...(fields ? { fields } : {}),
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

  async function requireOpenMarketplace(): Promise<void> {
    if (await isFeatureEnabled(db, 'hide_marketplace_from_unauthenticated_users'))
      throw new CfError('NotAuthenticated', 'Authentication error')
  }
}
