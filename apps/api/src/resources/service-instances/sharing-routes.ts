import type { FastifyInstance } from 'fastify'
import { parseBody, ToMany } from '../../http/bodies.js'
import type { Context } from '../../http/context.js'
import { unprocessable } from '../../http/errors.js'
import { requireFeature } from '../../http/feature-flags.js'
import { parseListQuery } from '../../http/lists.js'
import { findServiceInstance } from './find-service-instance.js'

interface ByGuid {
  Params: { guid: string }
}
interface BySharing {
  Params: { guid: string; space: string }
}
const PATH = '/v3/service_instances/:guid/relationships/shared_spaces'

/** Sharing with other spaces: user-provided instances have none, and there are no others yet. */
export function sharingRoutes(app: FastifyInstance, { db }: Context): void {
  app.get<ByGuid>(PATH, { config: { permission: 'space.read' } }, async (request) => {
    parseListQuery(request, { fields: ['space', 'space.organization'], labels: false })
    const { guid } = await findServiceInstance(db, request, request.params.guid, 'space.read')
    return {
      data: [],
      links: { self: { href: `${request.baseUrl}/v3/service_instances/${guid}/relationships/shared_spaces` } },
    }
  })

  app.get<ByGuid>(`${PATH}/usage_summary`, { config: { permission: 'space.read' } }, async (request) => {
    const { guid } = await findServiceInstance(db, request, request.params.guid, 'space.read')
    const shared = `${request.baseUrl}/v3/service_instances/${guid}/relationships/shared_spaces`
    return {
      usage_summary: [],
      links: {
        self: { href: `${shared}/usage_summary` },
        shared_spaces: { href: shared },
        service_instance: { href: `${request.baseUrl}/v3/service_instances/${guid}` },
      },
    }
  })

  app.post<ByGuid>(PATH, { config: { permission: 'space.develop' } }, async (request) => {
    await findServiceInstance(db, request, request.params.guid, 'space.develop')
    await requireFeature(db, 'service_instance_sharing')
    parseBody(ToMany, request.body)
    throw unprocessable('User-provided services cannot be shared.')
  })

  app.delete<BySharing>(`${PATH}/:space`, { config: { permission: 'space.develop' } }, async (request) => {
    await findServiceInstance(db, request, request.params.guid, 'space.develop')
    throw unprocessable(
      `Unable to unshare service instance from space ${request.params.space}. Ensure the space exists and the service instance has been shared to this space.`,
    )
  })
}
