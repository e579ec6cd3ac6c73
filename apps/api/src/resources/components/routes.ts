import type { FastifyInstance } from 'fastify'
import { CfError } from '@bloomery/contracts'
import { parseVersionRange, VersionRangeError, type VersionSpan } from '@bloomery/domain'
import { z } from 'zod'
import type { Context } from '../../http/context.js'
import { notFound } from '../../http/errors.js'
import { IN_SPACE } from '../apps/find-app.js'
import { toCycloneDx } from './cyclonedx.js'
import { findComponents } from './find-components.js'

const Query = z.strictObject({
  name: z.string("must name a component, for example 'lodash' or 'org.apache.logging.log4j:log4j-core'").min(1).max(300),
  version: z.string().max(300).default('*'),
  all: z.enum(['true', 'false']).default('false'),
  page: z.coerce.number().int().min(1).default(1),
  per_page: z.coerce.number().int().min(1).max(5000).default(1000),
})
interface ByGuid {
  Params: { guid: string }
}

/** What droplets are made of, and which apps have a given component. */
export function componentRoutes(app: FastifyInstance, { db, pool }: Context): void {
  app.get<ByGuid>('/bloomery/v1/droplets/:guid/bom', { config: { permission: 'space.read' } }, async (request, reply) => {
    const droplet = await db.droplet.findUnique({
      where: { guid: request.params.guid },
      include: { app: { include: IN_SPACE }, components: { orderBy: { purl: 'asc' } } },
    })
    if (!droplet) throw notFound('Droplet')
    await request.access.requireInSpace('space.read', droplet.app.space, 'Droplet not found')
    return reply.type('application/vnd.cyclonedx+json').send(toCycloneDx(droplet, droplet.app, droplet.components))
  })

  app.get('/bloomery/v1/components', { config: { permission: 'authenticated' } }, async (request) => {
    const parsed = Query.safeParse(request.query)
    if (!parsed.success)
      throw new CfError(
        'BadQueryParameter',
        `The query parameter is invalid: ${z.prettifyError(parsed.error).replaceAll('\n', ' ')}`,
      )
    const { name, version, all, page, per_page } = parsed.data
    const found = await findComponents(pool, {
      name,
      spans: spansOf(version),
      all: all === 'true',
      readerGuid: request.access.isGlobalReader ? undefined : request.principal.guid,
      limit: per_page,
      offset: (page - 1) * per_page,
    })
    const total = Number(found[0]?.total ?? 0)
    return {
      pagination: { total_results: total, total_pages: Math.max(1, Math.ceil(total / per_page)) },
      resources: found.map((each) => ({
        component: { name: each.name, version: each.version, purl: each.purl, source: each.source },
        droplet: { guid: each.droplet_guid, current: each.is_current },
        app: { guid: each.app_guid, name: each.app_name },
        space: { guid: each.space_guid, name: each.space_name },
        organization: { guid: each.organization_guid, name: each.organization_name },
      })),
    }
  })
}

function spansOf(range: string): VersionSpan[] {
  try {
    return parseVersionRange(range)
  } catch (error) {
    if (!(error instanceof VersionRangeError)) throw error
    throw new CfError('BadQueryParameter', `The query parameter is invalid: ${error.message}`, { cause: error })
  }
}
