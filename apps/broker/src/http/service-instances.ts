import { createHash } from 'node:crypto'
import { DeleteQuery, LastOperationQuery, ProvisionRequest, REQUEST_IDENTITY_HEADER, UpdateRequest } from '@bloomery/osb/protocol'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Taken } from '../operations/intake.js'
import { findInstance, listBackups } from '../state/instances.js'
import { findOperation, latestOperation, openOperations } from '../state/operations.js'
import type { BackupRecord, InstanceRecord } from '../state/records.js'
import { AsyncQuery, InstancePath, parse, presentOperation } from './answers.js'
import type { AppParts } from './app-parts.js'
import { asyncRequired, concurrencyError, gone, OsbError } from './errors.js'

const PATH = '/v2/service_instances/:instance'

/** Provision, update, deprovision, fetch, and how far they are. */
export function serviceInstanceRoutes(app: FastifyInstance, parts: AppParts, done: () => void): void {
  const { intake, pool } = parts

  app.put(PATH, async (request, reply) => {
    const { instance } = parse(InstancePath, request.params)
    const incomplete = acceptsIncomplete(request.query)
    const order = parse(ProvisionRequest, request.body)
    if (!incomplete) throw asyncRequired()
    return answer(parts, reply, await intake.provision(instance, order), 201)
  })

  app.patch(PATH, async (request, reply) => {
    const { instance } = parse(InstancePath, request.params)
    const incomplete = acceptsIncomplete(request.query)
    const order = parse(UpdateRequest, request.body)
    if (!incomplete) throw asyncRequired()
    return answer(parts, reply, await intake.update(instance, order, identityOf(request, order)), 200)
  })

  app.delete(PATH, async (request, reply) => {
    const { instance } = parse(InstancePath, request.params)
    const { service_id, accepts_incomplete } = parse(DeleteQuery, request.query)
    if (!(await findInstance(pool, instance))) throw gone('such service instance')
    if (accepts_incomplete !== 'true') throw asyncRequired()
    return answer(parts, reply, await intake.deprovision(instance, service_id), 200)
  })

  app.get(PATH, async (request) => {
    const { instance: guid } = parse(InstancePath, request.params)
    const instance = await findInstance(pool, guid)
    if (!instance || instance.state === 'provisioning' || instance.state === 'failed')
      throw new OsbError(404, 'There is no such service instance.')
    const open = await openOperations(pool, guid)
    if (open.some(({ kind }) => kind === 'update' || kind === 'restore' || kind === 'deprovision'))
      throw concurrencyError('An operation on this service instance')
    return presentInstance(instance, await listBackups(pool, guid))
  })

  app.get(`${PATH}/last_operation`, async (request) => {
    const { instance } = parse(InstancePath, request.params)
    const { operation: id } = parse(LastOperationQuery, request.query)
    const operation = await (id === undefined ? latestOperation(pool, instance, null) : findOperation(pool, id))
    const exists = await findInstance(pool, instance)
    if (id !== undefined && (operation?.instanceGuid !== instance || operation.bindingGuid !== null)) {
      if (!exists) throw gone('such service instance')
      throw new OsbError(400, 'operation: there is no such operation of this service instance.')
    }
    if (!operation || (!exists && id === undefined)) throw gone('such service instance')
    return presentOperation(operation)
  })
  done()
}

/** By which a request is known again when its answer was lost; what it asks for belongs to it, for identities may be of any kind. */
function identityOf({ headers }: FastifyRequest, { plan_id, parameters }: UpdateRequest): string | undefined {
  const identity = headers[REQUEST_IDENTITY_HEADER]
  if (typeof identity !== 'string' || identity === '') return undefined
  return createHash('sha256')
    .update(JSON.stringify([identity, plan_id, parameters]))
    .digest('hex')
}

export const acceptsIncomplete = (query: unknown): boolean => parse(AsyncQuery, query).accepts_incomplete === 'true'

/** Waits a little: what is quick is answered at once. */
async function answer(parts: AppParts, reply: FastifyReply, taken: Taken, status: 200 | 201): Promise<FastifyReply> {
  if (taken.outcome === 'done') return reply.code(200).send({})
  parts.nudge()
  const operation = await parts.operations.wait(taken.operation.id, parts.patienceMs)
  if (operation?.state === 'succeeded') return reply.code(taken.again ? 200 : status).send({})
  return reply.code(202).send({ operation: taken.operation.id })
}

function presentInstance(instance: InstanceRecord, backups: readonly BackupRecord[]) {
  return {
    service_id: instance.serviceId,
    plan_id: instance.planId,
    parameters: {
      ...instance.parameters,
      ...(instance.schedule === null ? {} : { schedule: instance.schedule }),
      keep_backups: instance.keepBackups,
      backups: backups.map(({ id, state, scheduled, bytes, createdAt }) => ({
        id,
        state,
        created_at: createdAt.toISOString(),
        ...(bytes === null ? {} : { bytes: Number(bytes) }),
        by: scheduled ? 'schedule' : 'request',
      })),
      ...(instance.exceeded
        ? { over_limit: 'The data take more than the plan allows; writing is stopped until some are deleted.' }
        : {}),
    },
  }
}
