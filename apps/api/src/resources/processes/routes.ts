import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Prisma, Process } from '@bloomery/database'
import { parseBody } from '../../http/bodies.js'
import type { Context } from '../../http/context.js'
import { notFound } from '../../http/errors.js'
import { requireFeature } from '../../http/feature-flags.js'
import { parseListQuery, presentAll, presentList, readPage } from '../../http/lists.js'
import type { SpaceRight } from '../../http/permissions.js'
import { actorOf } from '../../jobs/routes.js'
import { commandOf } from '../../runs/write-run-specs.js'
import { findApp, IN_SPACE, type AppInSpace } from '../apps/find-app.js'
import { findProcessOfType } from '../apps/processes-of-app.js'
import { presentProcess } from './presenter.js'
import { restartInstance } from './restart-instance.js'
import { ScaleProcess, scaleProcess } from './scale.js'
import { presentInstances, presentStats, readInstances, showInstances } from './stats.js'
import { toChange, UpdateProcess, updateProcess } from './update.js'

interface ByGuid {
  Params: { guid: string }
}
interface ByType {
  Params: { guid: string; type: string }
}
interface ByIndex {
  Params: { guid: string; type?: string; index: string }
}
type Found = { readonly process: Process; readonly app: AppInSpace }
const WITH_DROPLET = { app: { include: { currentDroplet: { select: { processTypes: true } } } } } as const

/** Processes are reached by their own guid, and by their app and type; both ways lead to the same. */
export function processRoutes(app: FastifyInstance, context: Context): void {
  const { db } = context

  const byGuid = async (request: FastifyRequest, right: SpaceRight): Promise<Found> => {
    const { guid } = request.params as ByGuid['Params']
    const process = await db.process.findUnique({ where: { guid }, include: { app: { include: IN_SPACE } } })
    if (!process) throw notFound('Process')
    await request.access.requireInSpace(right, process.app.space, 'Process not found')
    return { process, app: process.app }
  }
  const byType = async (request: FastifyRequest, right: SpaceRight): Promise<Found> => {
    const { guid, type } = request.params as ByType['Params']
    const found = await findApp(db, request, guid, right)
    const process = await findProcessOfType(db, found.guid, unescaped(type))
    if (!process) throw notFound('Process')
    return { process, app: found }
  }
  const droplet = (found: AppInSpace) =>
    found.currentDropletGuid === null
      ? null
      : db.droplet.findUnique({ where: { guid: found.currentDropletGuid }, select: { processTypes: true } })
  const presentOne = async ({ process, app: owner }: Found, request: FastifyRequest) =>
    presentProcess(process, request.baseUrl, commandOf(process, await droplet(owner)) ?? null)

  const list = async (request: FastifyRequest, own: Prisma.ProcessWhereInput) => {
    const query = parseListQuery(request, {
      filters: ['types', 'app_guids', 'space_guids', 'organization_guids', 'embed'],
      defaultOrder: [{ createdAt: 'asc' }],
    })
    const [types, appGuids, spaceGuids, organizationGuids] = ['types', 'app_guids', 'space_guids', 'organization_guids'].map(
      query.values,
    )
    const where: Prisma.ProcessWhereInput = {
      AND: [
        { app: { space: request.access.spaces() } },
        own,
        ...query.common,
        ...(types ? [{ type: { in: types } }] : []),
        ...(appGuids ? [{ appGuid: { in: appGuids } }] : []),
        ...(spaceGuids ? [{ app: { spaceGuid: { in: spaceGuids } } }] : []),
        ...(organizationGuids ? [{ app: { space: { organizationGuid: { in: organizationGuids } } } }] : []),
      ],
    }
    const page = await readPage(
      query,
      (window) => db.process.findMany({ where, orderBy: query.orderBy, include: WITH_DROPLET, ...window }),
      () => db.process.count({ where }),
    )
    const embeds = query.values('embed')?.includes('process_instances') ?? false
    const instances = embeds
      ? await readInstances(
          context,
          page.rows.map(({ guid }) => guid),
        )
      : new Map<string, never[]>()
    const now = context.now()
    return presentList(request, query, page, (row) => ({
      ...presentProcess(row, request.baseUrl, commandOf(row, row.app.currentDroplet) ?? null, true),
      ...(embeds
        ? {
            process_instances: presentInstances(
              showInstances(row, row.app.state === 'STARTED', instances.get(row.guid) ?? []),
              now,
            ),
          }
        : {}),
    }))
  }

  app.get('/v3/processes', { config: { permission: 'authenticated' } }, async (request) => list(request, {}))
  app.get<ByGuid>('/v3/apps/:guid/processes', { config: { permission: 'space.read' } }, async (request) => {
    const found = await findApp(db, request, request.params.guid, 'space.read')
    return list(request, { appGuid: found.guid })
  })

  /** While something starts that shall run, the answer waits for a change: the client asks every three seconds only. */
  const readStats = async ({ process }: Found) => {
    const read = async () => {
      const row = await db.process.findUnique({ where: { guid: process.guid }, include: { app: { select: { state: true } } } })
      if (!row) throw notFound('Process')
      const shown = showInstances(
        row,
        row.app.state === 'STARTED',
        (await readInstances(context, [row.guid])).get(row.guid) ?? [],
      )
      return { row, shown }
    }
    const isSettled = ({ row, shown }: Awaited<ReturnType<typeof read>>): boolean =>
      row.app.state !== 'STARTED' ||
      shown.some(({ state }) => state === 'RUNNING') ||
      !shown.some(({ state }) => state === 'STARTING')
    const visible = await context.changes.readWhenSettled('process', process.guid, read, isSettled)
    const usage = visible.shown.some(({ row }) => row) ? await context.logReader.metrics(process.appGuid).catch(() => []) : []
    return { visible, usage }
  }
  const stats = async (found: Found) => {
    const { visible, usage } = await readStats(found)
    return presentAll(presentStats(visible.row, visible.shown, usage, context.now()))
  }
  const processInstances = async ({ process, app: owner }: Found) => {
    const found = (await readInstances(context, [process.guid])).get(process.guid) ?? []
    return presentAll(presentInstances(showInstances(process, owner.state === 'STARTED', found), context.now()))
  }
  const scale = async (found: Found, request: FastifyRequest) => {
    if (!request.access.isAdmin) await requireFeature(db, 'app_scaling')
    const wish = parseBody(ScaleProcess, request.body)
    return presentOne({ ...found, process: await scaleProcess(context, actorOf(request), found.process, wish) }, request)
  }
  const update = async (found: Found, request: FastifyRequest) => {
    const change = toChange(parseBody(UpdateProcess, request.body))
    return presentOne({ ...found, process: await updateProcess(context, actorOf(request), found.process, change) }, request)
  }

  for (const [path, find] of [
    ['/v3/processes/:guid', byGuid],
    ['/v3/apps/:guid/processes/:type', byType],
  ] as const) {
    app.get(path, { config: { permission: 'space.read' } }, async (request) =>
      presentOne(await find(request, 'space.read'), request),
    )
    app.patch(path, { config: { permission: 'space.develop' } }, async (request) =>
      update(await find(request, 'space.develop'), request),
    )
    app.get(`${path}/stats`, { config: { permission: 'space.read' } }, async (request) =>
      stats(await find(request, 'space.read')),
    )
    app.get(`${path}/process_instances`, { config: { permission: 'space.read' } }, async (request) =>
      processInstances(await find(request, 'space.read')),
    )
    app.get(`${path}/sidecars`, { config: { permission: 'space.read' } }, async (request) => {
      await find(request, 'space.read')
      return presentAll([])
    })
    app.post(`${path}/actions/scale`, { config: { permission: 'space.operate' } }, async (request, reply) => {
      const answer = await scale(await find(request, 'space.operate'), request)
      return reply.code(202).send(answer)
    })
    app.delete<ByIndex>(`${path}/instances/:index`, { config: { permission: 'space.operate' } }, async (request, reply) => {
      const found = await find(request, 'space.operate')
      await restartInstance(context, actorOf(request), found.app, found.process, Number(request.params.index))
      return reply.code(204).send()
    })
  }

  app.get<ByGuid>('/v3/apps/:guid/sidecars', { config: { permission: 'space.read' } }, async (request) => {
    await findApp(db, request, request.params.guid, 'space.read')
    return presentAll([])
  })
}

/** The client escapes path segments twice. */
function unescaped(segment: string): string {
  try {
    return decodeURIComponent(segment)
  } catch {
    return segment
  }
}
