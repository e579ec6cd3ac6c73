import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Context } from '../../http/context.js'
import { notFound, unprocessable } from '../../http/errors.js'
import { parseListQuery, presentList } from '../../http/lists.js'
import { findApp } from './find-app.js'

interface ByGuid {
  Params: { guid: string }
}
const REVISION_FILTERS = ['versions', 'deployable']
const TASK_FILTERS = ['names', 'states', 'sequence_ids', 'app_guids', 'space_guids', 'organization_guids']

/** Revisions are not kept and tasks are not run here: clients read that there are none, and why none can be made. */
export function unkeptAppRoutes(app: FastifyInstance, { db }: Context): void {
  const none = (request: FastifyRequest, filters: readonly string[]) =>
    presentList(request, parseListQuery(request, { filters }), { rows: [], total: 0 }, (row: never) => row)

  for (const [path, filters] of [
    ['revisions', REVISION_FILTERS],
    ['revisions/deployed', REVISION_FILTERS],
    ['tasks', TASK_FILTERS],
  ] as const)
    app.get<ByGuid>(`/v3/apps/:guid/${path}`, { config: { permission: 'space.read' } }, async (request) => {
      await findApp(db, request, request.params.guid, 'space.read')
      return none(request, filters)
    })

  app.get('/v3/tasks', { config: { permission: 'authenticated' } }, async (request) => none(request, TASK_FILTERS))
  app.get('/v3/tasks/:guid', { config: { permission: 'authenticated' } }, async () => {
    throw notFound('Task')
  })
  app.get('/v3/revisions/:guid', { config: { permission: 'authenticated' } }, async () => {
    throw notFound('Revision')
  })
  app.post<ByGuid>('/v3/apps/:guid/tasks', { config: { permission: 'space.develop' } }, async (request) => {
    await findApp(db, request, request.params.guid, 'space.develop')
    throw unprocessable('Tasks cannot be run by this platform yet; run the command in an app of its own without a route.')
  })
}
