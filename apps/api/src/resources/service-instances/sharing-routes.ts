import type { FastifyInstance, FastifyRequest } from 'fastify'
import { parseBody, ToMany } from '../../http/bodies.js'
import type { Context } from '../../http/context.js'
import { unprocessable } from '../../http/errors.js'
import { requireFeature } from '../../http/feature-flags.js'
import { includedFields, requireKnownFields } from '../../http/fields.js'
import { parseListQuery } from '../../http/lists.js'
import { actorOf } from '../../jobs/routes.js'
import { findServiceInstance, type InstanceInSpace } from './find-service-instance.js'
import { recordInstanceData } from './instance-events.js'
import { shareInstance } from './share-instance.js'
import { unbindInSpace } from './unbind-in-space.js'

interface ByGuid {
  Params: { guid: string }
}
interface BySharing {
  Params: { guid: string; space: string }
}
const PATH = '/v3/service_instances/:guid/relationships/shared_spaces'
const FIELDS = { space: ['guid', 'name', 'relationships.organization'], 'space.organization': ['guid', 'name'] } as const

/** Instances that other spaces may bind too. */
export function sharingRoutes(app: FastifyInstance, context: Context): void {
  const { db } = context

  app.get<ByGuid>(PATH, { config: { permission: 'space.read' } }, async (request) => {
    const query = parseListQuery(request, { fields: Object.keys(FIELDS), labels: false })
    requireKnownFields(query, FIELDS)
    const { guid } = await findServiceInstance(db, request, request.params.guid, 'space.read')
    const spaces = await sharedSpaces(guid)
    const included = {
      ...includedFields(query, 'space', 'spaces', () =>
        spaces.map((space) => ({
          guid: space.guid,
          name: space.name,
          relationships: { organization: { data: { guid: space.organizationGuid } } },
        })),
      ),
      ...includedFields(query, 'space.organization', 'organizations', () =>
        spaces.map(({ organization }) => ({ guid: organization.guid, name: organization.name })),
      ),
    }
    return { ...present(request, guid, spaces), ...(Object.keys(included).length > 0 ? { included } : {}) }
  })

  app.get<ByGuid>(`${PATH}/usage_summary`, { config: { permission: 'space.read' } }, async (request) => {
    const { guid } = await findServiceInstance(db, request, request.params.guid, 'space.read')
    const [spaces, bindings] = await Promise.all([
      sharedSpaces(guid),
      db.credentialBinding.findMany({
        where: { serviceInstanceGuid: guid, type: 'app' },
        select: { appGuid: true, app: { select: { spaceGuid: true } } },
      }),
    ])
    const shared = `${request.baseUrl}/v3/service_instances/${guid}/relationships/shared_spaces`
    return {
      usage_summary: spaces.map((space) => ({
        space: { guid: space.guid },
        bound_app_count: new Set(
          bindings.filter(({ app: bound }) => bound?.spaceGuid === space.guid).map(({ appGuid }) => appGuid),
        ).size,
      })),
      links: {
        self: { href: `${shared}/usage_summary` },
        shared_spaces: { href: shared },
        service_instance: { href: `${request.baseUrl}/v3/service_instances/${guid}` },
      },
    }
  })

  app.post<ByGuid>(PATH, { config: { permission: 'space.develop' } }, async (request) => {
    const instance = await findServiceInstance(db, request, request.params.guid, 'space.develop')
    await requireFeature(db, 'service_instance_sharing')
    const guids = [...new Set(parseBody(ToMany, request.body).data.map(({ guid }) => guid))]
    const targets = await requireWritable(request, instance, guids)
    await db.$transaction((tx) => shareInstance(tx, actorOf(request), instance.guid, targets))
    return present(request, instance.guid, await sharedSpaces(instance.guid))
  })

  app.delete<BySharing>(`${PATH}/:space`, { config: { permission: 'space.develop' } }, async (request, reply) => {
    const instance = await findServiceInstance(db, request, request.params.guid, 'space.develop')
    const spaceGuid = request.params.space
    const where = { serviceInstanceGuid_spaceGuid: { serviceInstanceGuid: instance.guid, spaceGuid } }
    if (!(await db.serviceInstanceSharing.findUnique({ where })))
      throw unprocessable(
        `Unable to unshare service instance from space ${spaceGuid}. Ensure the space exists and the service instance has been shared to this space.`,
      )
    await unbindInSpace(context, actorOf(request), instance, spaceGuid)
    await db.$transaction(async (tx) => {
      const { count } = await tx.serviceInstanceSharing.deleteMany({ where: { serviceInstanceGuid: instance.guid, spaceGuid } })
      if (count > 0) await recordInstanceData(tx, actorOf(request), instance, 'unshare', { target_space_guid: spaceGuid })
    })
    return reply.code(204).send()
  })

  const sharedSpaces = (guid: string) =>
    db.space.findMany({
      where: { sharedServices: { some: { serviceInstanceGuid: guid } } },
      include: { organization: true },
      orderBy: [{ createdAt: 'asc' }, { guid: 'asc' }],
    })

  /** Every target must be seen and be the caller's to change; all that are not are told. */
  async function requireWritable(request: FastifyRequest, { name }: InstanceInSpace, guids: readonly string[]) {
    const found = await db.space.findMany({ where: { guid: { in: [...guids] } }, include: { organization: true } })
    const rights = await Promise.all(
      found.map(async (space) => ({
        space,
        reads: await request.access.hasInSpace('space.read', space),
        writes:
          (await request.access.hasInSpace('space.develop', space)) && (!space.organization.suspended || request.access.isAdmin),
      })),
    )
    const list = (names: readonly string[]) => names.map((guid) => `'${guid}'`).join(', ')
    const unread = guids.filter((guid) => !rights.some(({ space, reads }) => reads && space.guid === guid))
    const unwritten = rights.filter(({ reads, writes }) => reads && !writes).map(({ space }) => space.guid)
    const problems = [
      ...(unread.length > 0
        ? [
            `Unable to share service instance ${name} with spaces [${list(unread)}]. Ensure the spaces exist and that you have access to them.`,
          ]
        : []),
      ...(unwritten.length > 0
        ? [
            `Unable to share service instance ${name} with spaces [${list(unwritten)}]. Write permission is required in order to share a service instance with a space.`,
          ]
        : []),
    ]
    if (problems.length > 0) throw unprocessable(problems.join('\n'))
    return found
  }
}

const present = (request: FastifyRequest, guid: string, spaces: readonly { guid: string }[]) => ({
  data: spaces.map((space) => ({ guid: space.guid })),
  links: { self: { href: `${request.baseUrl}/v3/service_instances/${guid}/relationships/shared_spaces` } },
})
