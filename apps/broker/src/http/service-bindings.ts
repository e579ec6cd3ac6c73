import { BindRequest, DeleteQuery, LastOperationQuery } from '@bloomery/osb/protocol'
import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import { findBinding } from '../state/instances.js'
import { findOperation, latestOperation } from '../state/operations.js'
import type { BindingRecord } from '../state/records.js'
import type { Vault } from '../state/vault.js'
import { BindingPath, parse, presentOperation } from './answers.js'
import type { AppParts } from './app-parts.js'
import { gone, OsbError } from './errors.js'
import { acceptsIncomplete } from './service-instances.js'

const PATH = '/v2/service_instances/:instance/service_bindings/:binding'
/** A platform that accepts no 202 waits as long as its own patience with brokers lasts. */
const LONGEST_WAIT_MS = 50_000

const GrantSchema = z.object({
  credentials: z.record(z.string(), z.unknown()),
  endpoints: z.array(z.object({ host: z.string(), ports: z.array(z.string()) })),
})

/** Bind, unbind, fetch, and how far they are. */
export function serviceBindingRoutes(app: FastifyInstance, parts: AppParts, done: () => void): void {
  const { intake, pool } = parts

  app.put(PATH, async (request, reply) => {
    const { instance, binding: guid } = parse(BindingPath, request.params)
    const incomplete = acceptsIncomplete(request.query)
    const taken = await intake.bind(instance, guid, parse(BindRequest, request.body))
    if (taken.outcome === 'done') return reply.code(200).send(presentBinding(taken.binding, parts.vault))
    parts.nudge()
    const ended = await parts.operations.wait(taken.operation.id, incomplete ? parts.patienceMs : LONGEST_WAIT_MS)
    if (ended?.state === 'succeeded')
      return reply.code(taken.again ? 200 : 201).send(presentBinding(await findBinding(pool, instance, guid), parts.vault))
    if (incomplete) return reply.code(202).send({ operation: taken.operation.id })
    return reply.code(500).send({ description: ended?.description ?? 'The binding was not made in time.' })
  })

  app.delete(PATH, async (request, reply) => {
    const { instance, binding: guid } = parse(BindingPath, request.params)
    const { service_id, accepts_incomplete } = parse(DeleteQuery, request.query)
    const incomplete = accepts_incomplete === 'true'
    const taken = await intake.unbind(instance, guid, service_id)
    if (taken.outcome === 'done') return {}
    parts.nudge()
    const ended = await parts.operations.wait(taken.operation.id, incomplete ? parts.patienceMs : LONGEST_WAIT_MS)
    if (ended?.state === 'succeeded') return {}
    if (incomplete) return reply.code(202).send({ operation: taken.operation.id })
    return reply.code(500).send({ description: ended?.description ?? 'The binding was not deleted in time.' })
  })

  app.get(PATH, async (request) => {
    const { instance, binding: guid } = parse(BindingPath, request.params)
    const binding = await findBinding(pool, instance, guid)
    if (binding?.state !== 'ready') throw new OsbError(404, 'There is no such binding.')
    return { ...presentBinding(binding, parts.vault), parameters: binding.request.parameters }
  })

  app.get(`${PATH}/last_operation`, async (request) => {
    const { instance, binding: guid } = parse(BindingPath, request.params)
    const { operation: id } = parse(LastOperationQuery, request.query)
    const operation = await (id === undefined ? latestOperation(pool, instance, guid) : findOperation(pool, id))
    const exists = await findBinding(pool, instance, guid)
    if (id !== undefined && (operation?.instanceGuid !== instance || operation.bindingGuid !== guid)) {
      if (!exists) throw gone('such binding')
      throw new OsbError(400, 'operation: there is no such operation of this binding.')
    }
    if (!operation || (!exists && id === undefined)) throw gone('such binding')
    return presentOperation(operation)
  })
  done()
}

function presentBinding(binding: BindingRecord | undefined, vault: Vault) {
  if (!binding?.answer) throw new OsbError(404, 'There is no such binding.')
  return GrantSchema.parse(JSON.parse(vault.open(binding.answer, `grant:${binding.guid}`)))
}
