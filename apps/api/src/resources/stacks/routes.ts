import type { FastifyInstance } from 'fastify'
import type { Prisma, Stack } from '@bloomery/database'
import { z } from 'zod'
import { recordAudit } from '../../http/audit.js'
import { parseBody } from '../../http/bodies.js'
import type { Context } from '../../http/context.js'
import { notFound } from '../../http/errors.js'
import { parseListQuery, presentList, readPage } from '../../http/lists.js'
import { applyMetadata, MetadataInput } from '../../http/metadata.js'
import { actorOf } from '../../jobs/routes.js'
import { presentApp } from '../apps/presenter.js'
import { presentStack } from './presenter.js'

const STATES = ['ACTIVE', 'RESTRICTED', 'DEPRECATED', 'DISABLED'] as const
const UpdateStack = z.strictObject({
  state: z.enum(STATES, `must be one of ${STATES.join(', ')}`).optional(),
  state_reason: z.string('must be a string').max(1000, 'is too long (maximum is 1000 characters)').nullish(),
  metadata: MetadataInput.optional(),
})
interface ByGuid {
  Params: { guid: string }
}

/** Stacks come with the product: none is added or removed through the API, but an operator may retire one. */
export function stackRoutes(app: FastifyInstance, { db }: Context): void {
  const find = async (guid: string): Promise<Stack> => {
    const stack = await db.stack.findUnique({ where: { guid } })
    if (!stack) throw notFound('Stack')
    return stack
  }

  app.get('/v3/stacks', { config: { permission: 'authenticated' } }, async (request) => {
    const query = parseListQuery(request, { filters: ['names', 'default', 'states'], orderBy: { name: 'name' } })
    const [names, states] = ['names', 'states'].map(query.values)
    const isDefault = query.value('default')
    const where: Prisma.StackWhereInput = {
      AND: [
        ...query.common,
        ...(names ? [{ name: { in: names } }] : []),
        ...(states ? [{ state: { in: states } }] : []),
        ...(isDefault === undefined ? [] : [{ isDefault: isDefault === 'true' }]),
      ],
    }
    const page = await readPage(
      query,
      (window) => db.stack.findMany({ where, orderBy: query.orderBy, ...window }),
      () => db.stack.count({ where }),
    )
    return presentList(request, query, page, (stack) => presentStack(stack, request.baseUrl))
  })

  app.get<ByGuid>('/v3/stacks/:guid', { config: { permission: 'authenticated' } }, async (request) =>
    presentStack(await find(request.params.guid), request.baseUrl),
  )

  app.get<ByGuid>('/v3/stacks/:guid/apps', { config: { permission: 'authenticated' } }, async (request) => {
    const stack = await find(request.params.guid)
    const query = parseListQuery(request, { filters: ['names', 'space_guids', 'organization_guids'], orderBy: { name: 'name' } })
    const [names, spaceGuids, organizationGuids] = ['names', 'space_guids', 'organization_guids'].map(query.values)
    const where: Prisma.AppWhereInput = {
      AND: [
        { stack: stack.name, space: request.access.spaces() },
        ...query.common,
        ...(names ? [{ name: { in: names } }] : []),
        ...(spaceGuids ? [{ spaceGuid: { in: spaceGuids } }] : []),
        ...(organizationGuids ? [{ space: { organizationGuid: { in: organizationGuids } } }] : []),
      ],
    }
    const page = await readPage(
      query,
      (window) => db.app.findMany({ where, orderBy: query.orderBy, ...window }),
      () => db.app.count({ where }),
    )
    return presentList(request, query, page, (row) => presentApp(row, request.baseUrl))
  })

  app.patch<ByGuid>('/v3/stacks/:guid', { config: { permission: 'admin' } }, async (request) => {
    const stack = await find(request.params.guid)
    const input = parseBody(UpdateStack, request.body)
    const updated = await db.$transaction(async (tx) => {
      await recordAudit(tx, actorOf(request), {
        type: 'audit.stack.update',
        target: { type: 'stack', guid: stack.guid, name: stack.name },
        data: { request: { ...(input.state ? { state: input.state } : {}) } },
      })
      return tx.stack.update({
        where: { guid: stack.guid },
        data: {
          ...(input.state === undefined ? {} : { state: input.state }),
          // The reason belongs to the state: a new state without one has none.
          ...(input.state_reason !== undefined
            ? { stateReason: input.state_reason }
            : input.state !== undefined && input.state !== stack.state
              ? { stateReason: null }
              : {}),
          ...applyMetadata(stack, input.metadata),
        },
      })
    })
    return presentStack(updated, request.baseUrl)
  })
}
