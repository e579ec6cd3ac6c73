import type { FastifyInstance } from 'fastify'
import type { Prisma } from '@bloomery/database'
import { variableFaults } from '@bloomery/domain'
import { z } from 'zod'
import { parseBody, ToOne } from '../../http/bodies.js'
import type { Context } from '../../http/context.js'
import { unprocessable } from '../../http/errors.js'
import { parseListQuery, presentList, readPage, type ListQuery } from '../../http/lists.js'
import { MetadataInput } from '../../http/metadata.js'
import { accept, actorOf } from '../../jobs/routes.js'
import { presentOrganization } from '../organizations/presenter.js'
import { presentSpace } from '../spaces/presenter.js'
import { restartApp, startApp, stopApp } from './change-state.js'
import { createApp } from './create-app.js'
import { DeleteAppParams, deleteApp } from './delete-app.js'
import { describeFault } from './environment-routes.js'
import { findApp, IN_SPACE, type AppInSpace } from './find-app.js'
import { LifecycleInput } from './lifecycle.js'
import { presentApp } from './presenter.js'
import { updateApp } from './update-app.js'

const AppName = z
  .string('must be a string')
  .trim()
  .min(1, "can't be blank")
  .max(255, 'is too long (maximum is 255 characters)')
  .regex(/^[^\p{Cc}]*$/u, 'must not contain control characters')
const CreateApp = z.strictObject({
  name: AppName,
  relationships: z.strictObject({ space: ToOne }),
  lifecycle: LifecycleInput.optional(),
  environment_variables: z.record(z.string(), z.unknown()).optional(),
  metadata: MetadataInput.optional(),
})
const UpdateApp = z.strictObject({
  name: AppName.optional(),
  lifecycle: LifecycleInput.optional(),
  metadata: MetadataInput.optional(),
})
interface ByGuid {
  Params: { guid: string }
}
const INCLUDES = ['space', 'space.organization', 'org', 'organization']

export function appRoutes(app: FastifyInstance, context: Context): void {
  const { db } = context
  context.jobs.register('app.delete', DeleteAppParams, (job) => deleteApp(context, job.params.guid, job.actor))

  app.get('/v3/apps', { config: { permission: 'authenticated' } }, async (request) => {
    const query = parseListQuery(request, {
      filters: ['names', 'space_guids', 'organization_guids', 'lifecycle_type', 'stacks'],
      orderBy: { name: 'name', state: 'state' },
      include: INCLUDES,
    })
    const where: Prisma.AppWhereInput = { AND: [{ space: request.access.spaces() }, ...query.common, ...filtersOf(query)] }
    const page = await readPage(
      query,
      (window) => db.app.findMany({ where, orderBy: query.orderBy, include: IN_SPACE, ...window }),
      () => db.app.count({ where }),
    )
    return presentList(
      request,
      query,
      page,
      (each) => presentApp(each, request.baseUrl),
      includedOf(query, page.rows, request.baseUrl),
    )
  })

  app.get<ByGuid>('/v3/apps/:guid', { config: { permission: 'space.read' } }, async (request) => {
    const query = parseListQuery(request, { include: INCLUDES, labels: false })
    const found = await findApp(db, request, request.params.guid, 'space.read')
    const included = includedOf(query, [found], request.baseUrl)
    return { ...presentApp(found, request.baseUrl), ...(query.includes.size > 0 ? { included } : {}) }
  })

  app.post('/v3/apps', { config: { permission: 'space.develop' } }, async (request, reply) => {
    const input = parseBody(CreateApp, request.body)
    const spaceGuid = input.relationships.space.data.guid
    const space = await db.space.findUnique({ where: { guid: spaceGuid }, include: { organization: true } })
    if (!space || !(await request.access.hasInSpace('space.read', space)))
      throw unprocessable('Invalid space. Ensure that the space exists and you have access to it.')
    await request.access.requireInSpace('space.develop', space, 'Space not found')
    const variables = input.environment_variables ?? {}
    const faults = variableFaults(variables)
    if (faults.length > 0) throw unprocessable(faults.map(describeFault))
    const created = await createApp(context, actorOf(request), space, {
      name: input.name,
      lifecycle: input.lifecycle,
      variables: variables as Record<string, string>,
      metadata: input.metadata,
    })
    return reply.code(201).send(presentApp(created, request.baseUrl))
  })

  app.patch<ByGuid>('/v3/apps/:guid', { config: { permission: 'space.develop' } }, async (request) => {
    const found = await findApp(db, request, request.params.guid, 'space.develop')
    const input = parseBody(UpdateApp, request.body)
    const updated = await updateApp(context, actorOf(request), found, input)
    return presentApp(updated, request.baseUrl)
  })

  app.delete<ByGuid>('/v3/apps/:guid', { config: { permission: 'space.develop' } }, async (request, reply) => {
    const found = await findApp(db, request, request.params.guid, 'space.develop')
    return accept(context, request, reply, {
      operation: 'app.delete',
      params: { guid: found.guid },
      resourceType: 'apps',
      resourceGuid: found.guid,
    })
  })

  for (const [action, act] of [
    ['start', startApp],
    ['stop', stopApp],
    ['restart', restartApp],
  ] as const)
    app.post<ByGuid>(`/v3/apps/:guid/actions/${action}`, { config: { permission: 'space.operate' } }, async (request) => {
      const found = await findApp(db, request, request.params.guid, 'space.operate')
      return presentApp(await act(context, actorOf(request), found.guid), request.baseUrl)
    })

  app.post<ByGuid>(
    '/v3/apps/:guid/actions/clear_buildpack_cache',
    { config: { permission: 'space.operate' } },
    async (request, reply) => {
      const found = await findApp(db, request, request.params.guid, 'space.operate')
      const { blobstore } = context
      for await (const { key } of blobstore.list(`caches/${found.guid}/`)) await blobstore.delete(key)
      return reply.code(202).send({})
    },
  )
}

function filtersOf(query: ListQuery): Prisma.AppWhereInput[] {
  const conditions: Prisma.AppWhereInput[] = []
  const add = (name: string, condition: (values: string[]) => Prisma.AppWhereInput): void => {
    const values = query.values(name)
    if (values) conditions.push(condition(values))
  }
  add('names', (values) => ({ name: { in: values } }))
  add('space_guids', (values) => ({ spaceGuid: { in: values } }))
  add('organization_guids', (values) => ({ space: { organizationGuid: { in: values } } }))
  add('lifecycle_type', (values) => ({ lifecycleType: { in: values } }))
  add('stacks', (values) => ({ stack: { in: values } }))
  return conditions
}

function includedOf(query: ListQuery, apps: readonly AppInSpace[], baseUrl: string): Record<string, unknown[]> {
  const withOrganizations = ['space.organization', 'org', 'organization'].some((name) => query.includes.has(name))
  const withSpaces = query.includes.has('space') || query.includes.has('space.organization')
  const spaces = new Map(apps.map(({ space }) => [space.guid, space]))
  const organizations = new Map(apps.map(({ space }) => [space.organizationGuid, space.organization]))
  return {
    ...(withSpaces ? { spaces: [...spaces.values()].map((each) => presentSpace(each, baseUrl)) } : {}),
    ...(withOrganizations
      ? { organizations: [...organizations.values()].map((each) => presentOrganization(each, baseUrl)) }
      : {}),
  }
}
