import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Deployment, Prisma } from '@bloomery/database'
import { z } from 'zod'
import { Integer, parseBody, ToOne } from '../../http/bodies.js'
import type { Context } from '../../http/context.js'
import { notFound, unprocessable } from '../../http/errors.js'
import { parseListQuery, presentList, readPage } from '../../http/lists.js'
import { applyMetadata, MetadataInput } from '../../http/metadata.js'
import type { SpaceRight } from '../../http/permissions.js'
import { actorOf } from '../../jobs/routes.js'
import { recordAppEvent } from '../apps/app-events.js'
import { IN_SPACE, type AppInSpace } from '../apps/find-app.js'
import { createDeployment } from './create-deployment.js'
import { presentDeployment } from './presenter.js'

const Whole = (minimum: number, words: string) => Integer.pipe(z.number().min(minimum, words).max(2_147_483_647)).nullish()
// Unset options come as null.
const CreateDeployment = z.strictObject({
  relationships: z.strictObject({ app: ToOne }),
  droplet: z.object({ guid: z.string() }).nullish(),
  revision: z.object({ guid: z.string() }).nullish(),
  strategy: z.string().nullish(),
  options: z
    .strictObject({
      max_in_flight: Whole(1, 'must be an integer greater than 0'),
      canary: z.unknown().optional(),
      web_instances: Whole(1, 'must be greater than 0'),
      memory_in_mb: Whole(1, 'must be greater than 0'),
      disk_in_mb: Whole(1, 'must be greater than 0'),
      log_rate_limit_in_bytes_per_second: Whole(-1, 'must be greater than or equal to -1'),
    })
    .nullish(),
  metadata: MetadataInput.optional(),
})
const UpdateDeployment = z.strictObject({ metadata: MetadataInput.optional() })
interface ByGuid {
  Params: { guid: string }
}

export function deploymentRoutes(app: FastifyInstance, context: Context): void {
  const { db } = context
  const find = async (request: FastifyRequest, right: SpaceRight): Promise<Deployment & { app: AppInSpace }> => {
    const { guid } = request.params as ByGuid['Params']
    const deployment = await db.deployment.findUnique({ where: { guid }, include: { app: { include: IN_SPACE } } })
    if (!deployment) throw notFound('Deployment')
    await request.access.requireInSpace(right, deployment.app.space, 'Deployment not found')
    return deployment
  }

  app.get('/v3/deployments', { config: { permission: 'authenticated' } }, async (request) => {
    const query = parseListQuery(request, { filters: ['app_guids', 'states', 'status_reasons', 'status_values'] })
    const [appGuids, reasons, values] = ['app_guids', 'status_reasons', 'status_values'].map(query.values)
    const where: Prisma.DeploymentWhereInput = {
      AND: [
        { app: { space: request.access.spaces() } },
        ...query.common,
        ...(appGuids ? [{ appGuid: { in: appGuids } }] : []),
        ...(reasons ? [{ statusReason: { in: reasons } }] : []),
        ...(values ? [{ statusValue: { in: values } }] : []),
        ...(query.values('states') ? [{ OR: (query.values('states') ?? []).map(stateCondition) }] : []),
      ],
    }
    const page = await readPage(
      query,
      (window) => db.deployment.findMany({ where, orderBy: query.orderBy, ...window }),
      () => db.deployment.count({ where }),
    )
    return presentList(request, query, page, (each) => presentDeployment(each, request.baseUrl))
  })

  app.get<ByGuid>('/v3/deployments/:guid', { config: { permission: 'space.read' } }, async (request) => {
    const { guid } = await find(request, 'space.read')
    const deployment = await context.changes.readWhenSettled(
      'deployment',
      guid,
      () => db.deployment.findUnique({ where: { guid } }),
      (each) => each?.statusValue !== 'ACTIVE',
    )
    if (!deployment) throw notFound('Deployment')
    return presentDeployment(deployment, request.baseUrl)
  })

  app.post('/v3/deployments', { config: { permission: 'space.operate' } }, async (request, reply) => {
    const input = parseBody(CreateDeployment, request.body)
    const owner = await db.app.findUnique({ where: { guid: input.relationships.app.data.guid }, include: IN_SPACE })
    if (!owner || !(await request.access.hasInSpace('space.read', owner.space)))
      throw unprocessable('Unable to use app. Ensure that the app exists and you have access to it.')
    await request.access.requireInSpace('space.operate', owner.space, 'App not found')
    const strategy = input.strategy ?? 'rolling'
    if (strategy === 'canary')
      throw unprocessable("Canary deployments are not available on this platform yet; use the strategy 'rolling'.")
    if (strategy !== 'rolling') throw unprocessable(`Strategy '${strategy}' is not a supported deployment strategy`)
    if (input.options?.canary != null) throw unprocessable('Options canary is only valid for canary deployments')
    if (input.revision) throw unprocessable('Revisions are not kept by this platform yet; name the droplet to go back to.')
    const {
      max_in_flight: maxInFlight,
      web_instances: webInstances,
      memory_in_mb: memory,
      disk_in_mb: disk,
    } = input.options ?? {}
    const logRate = input.options?.log_rate_limit_in_bytes_per_second
    const created = await createDeployment(context, actorOf(request), owner.guid, {
      dropletGuid: input.droplet?.guid,
      options: {
        max_in_flight: maxInFlight ?? 1,
        ...(webInstances == null ? {} : { web_instances: webInstances }),
        ...(memory == null ? {} : { memory_in_mb: memory }),
        ...(disk == null ? {} : { disk_in_mb: disk }),
        ...(logRate == null ? {} : { log_rate_limit_in_bytes_per_second: logRate }),
      },
      metadata: input.metadata,
    })
    return reply.code(201).send(presentDeployment(created, request.baseUrl))
  })

  app.patch<ByGuid>('/v3/deployments/:guid', { config: { permission: 'space.operate' } }, async (request) => {
    const deployment = await find(request, 'space.operate')
    const input = parseBody(UpdateDeployment, request.body)
    const updated = await db.deployment.update({
      where: { guid: deployment.guid },
      data: applyMetadata(deployment, input.metadata),
    })
    return presentDeployment(updated, request.baseUrl)
  })

  app.post<ByGuid>('/v3/deployments/:guid/actions/cancel', { config: { permission: 'space.operate' } }, async (request) => {
    const deployment = await find(request, 'space.operate')
    const refused = () =>
      unprocessable(`Cannot cancel a deployment that is ${deployment.statusValue} with reason ${deployment.statusReason}.`)
    if (deployment.statusValue !== 'ACTIVE') throw refused()
    // A second call finds it CANCELING and is content.
    if (deployment.statusReason !== 'CANCELING')
      await db.$transaction(async (tx) => {
        const { count } = await tx.deployment.updateMany({
          where: { guid: deployment.guid, statusValue: 'ACTIVE', statusReason: { not: 'CANCELING' } },
          data: {
            statusReason: 'CANCELING',
            lastStatusChangeAt: context.now(),
            // Why it did not proceed stays readable.
            detail: [`Cancelled by ${request.principal.name}.`, deployment.detail].filter(Boolean).join(' '),
          },
        })
        if (count === 0) throw refused()
        await recordAppEvent(tx, actorOf(request), deployment.app, 'audit.app.deployment.cancel', {
          deployment_guid: deployment.guid,
          droplet_guid: deployment.dropletGuid,
        })
      })
    context.nudges.send({ topic: 'scheduler' })
    context.changes.announce('deployment', deployment.guid)
    return {}
  })

  app.post<ByGuid>('/v3/deployments/:guid/actions/continue', { config: { permission: 'space.operate' } }, async (request) => {
    const deployment = await find(request, 'space.operate')
    throw unprocessable(
      `Cannot continue a deployment with status: ${deployment.statusValue} and reason: ${deployment.statusReason}; only paused canary deployments wait to be continued.`,
    )
  })
}

/** The older spelling of status_value and status_reason in one word. */
const stateCondition = (state: string): Prisma.DeploymentWhereInput =>
  state === 'CANCELING' || state === 'DEPLOYING' ? { statusReason: state, statusValue: 'ACTIVE' } : { statusReason: state }
