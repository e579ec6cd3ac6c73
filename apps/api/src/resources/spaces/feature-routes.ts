import type { FastifyInstance } from 'fastify'
import { CfError } from '@bloomery/contracts'
import type { Space } from '@bloomery/database'
import { z } from 'zod'
import { recordAudit } from '../../http/audit.js'
import { parseBody, ToOneNullable } from '../../http/bodies.js'
import type { Context } from '../../http/context.js'
import { notFound, unprocessable } from '../../http/errors.js'
import { parseListQuery, presentList } from '../../http/lists.js'
import { accept, actorOf } from '../../jobs/routes.js'
import { listUsers } from '../users/list-users.js'
import { usageOfSpaces } from '../usage.js'
import { deleteRoutes } from '../routes/delete-routes.js'
import { findSpace } from './find-space.js'

const Feature = z.strictObject({ enabled: z.boolean('must be a boolean') })
const UnmappedRoutesParams = z.object({ spaceGuid: z.string() })
interface ByGuid {
  Params: { guid: string }
}
interface ByFeature {
  Params: { guid: string; name: string }
}

/** What hangs below a space: its ssh switch, isolation segment, security groups, users, usage, and its orphaned routes. */
export function spaceFeatureRoutes(app: FastifyInstance, context: Context): void {
  const { db } = context
  const presentSsh = (space: Space) => ({
    name: 'ssh',
    description: 'Enable SSHing into apps in the space.',
    enabled: space.sshEnabled,
  })
  const requireSsh = (name: string): void => {
    if (name !== 'ssh') throw notFound('Feature')
  }

  app.get<ByGuid>('/v3/spaces/:guid/features', { config: { permission: 'space.read' } }, async (request) => ({
    resources: [presentSsh(await findSpace(db, request, request.params.guid, 'space.read'))],
  }))

  app.get<ByFeature>('/v3/spaces/:guid/features/:name', { config: { permission: 'space.read' } }, async (request) => {
    const space = await findSpace(db, request, request.params.guid, 'space.read')
    requireSsh(request.params.name)
    return presentSsh(space)
  })

  app.patch<ByFeature>('/v3/spaces/:guid/features/:name', { config: { permission: 'space.manage' } }, async (request) => {
    const space = await findSpace(db, request, request.params.guid, 'space.manage')
    requireSsh(request.params.name)
    const { enabled } = parseBody(Feature, request.body)
    const updated = await db.$transaction(async (tx) => {
      await recordAudit(tx, actorOf(request), {
        type: 'audit.space.update',
        target: { type: 'space', guid: space.guid, name: space.name },
        spaceGuid: space.guid,
        organizationGuid: space.organizationGuid,
        data: { request: { allow_ssh: enabled } },
      })
      return tx.space.update({ where: { guid: space.guid }, data: { sshEnabled: enabled } })
    })
    return presentSsh(updated)
  })

  app.get<ByGuid>(
    '/v3/spaces/:guid/relationships/isolation_segment',
    { config: { permission: 'space.read' } },
    async (request) => {
      const space = await findSpace(db, request, request.params.guid, 'space.read')
      return {
        data: null,
        links: { self: { href: `${request.baseUrl}/v3/spaces/${space.guid}/relationships/isolation_segment` } },
      }
    },
  )

  app.patch<ByGuid>(
    '/v3/spaces/:guid/relationships/isolation_segment',
    { config: { permission: 'org.manage' } },
    async (request) => {
      const space = await findSpace(db, request, request.params.guid, 'space.read')
      await request.access.requireInOrganization('org.manage', space.organization, 'Space not found')
      const { data } = parseBody(ToOneNullable, request.body)
      if (data)
        throw unprocessable(
          `Unable to assign isolation segment with guid '${data.guid}'. Ensure it has been entitled to the organization that this space belongs to.`,
        )
      return {
        data: null,
        links: { self: { href: `${request.baseUrl}/v3/spaces/${space.guid}/relationships/isolation_segment` } },
      }
    },
  )

  for (const phase of ['running', 'staging'])
    app.get<ByGuid>(`/v3/spaces/:guid/${phase}_security_groups`, { config: { permission: 'space.read' } }, async (request) => {
      await findSpace(db, request, request.params.guid, 'space.read')
      const query = parseListQuery(request, { filters: ['names'], labels: false })
      return presentList(request, query, { rows: [], total: 0 }, (none: never) => none)
    })

  app.get<ByGuid>('/v3/spaces/:guid/users', { config: { permission: 'space.read' } }, async (request) => {
    const space = await findSpace(db, request, request.params.guid, 'space.read')
    return listUsers(db, request, { roles: { some: { spaceGuid: space.guid } } })
  })

  app.get<ByGuid>('/v3/spaces/:guid/usage_summary', { config: { permission: 'space.read' } }, async (request) => {
    const space = await findSpace(db, request, request.params.guid, 'space.read')
    const self = `${request.baseUrl}/v3/spaces/${space.guid}`
    return {
      usage_summary: await usageOfSpaces(context.pool, { organizationGuid: space.organizationGuid, spaceGuid: space.guid }),
      links: { self: { href: `${self}/usage_summary` }, space: { href: self } },
    }
  })

  context.jobs.register('space.delete_unmapped_routes', UnmappedRoutesParams, async (job) => {
    await deleteRoutes(context, { spaceGuid: job.params.spaceGuid, destinations: { none: {} } }, job.actor)
  })
  app.delete<ByGuid>('/v3/spaces/:guid/routes', { config: { permission: 'space.operate' } }, async (request, reply) => {
    const space = await findSpace(db, request, request.params.guid, 'space.operate')
    const { unmapped, ...rest } = request.query as Record<string, string | undefined>
    if (unmapped !== 'true' || Object.keys(rest).length > 0)
      throw new CfError(
        'UnprocessableEntity',
        "Mass delete not supported for routes. Use 'unmapped=true' parameter to delete all unmapped routes.",
      )
    return accept(context, request, reply, {
      operation: 'space.delete_unmapped_routes',
      params: { spaceGuid: space.guid },
      resourceType: 'spaces',
      resourceGuid: space.guid,
    })
  })
}
