import type { FastifyInstance, FastifyRequest } from 'fastify'
import { CfError } from '@bloomery/contracts'
import { z } from 'zod'
import { parseBody, ToOne } from '../../http/bodies.js'
import type { Context } from '../../http/context.js'
import { notFound, unprocessable } from '../../http/errors.js'
import { parseListQuery } from '../../http/lists.js'
import { applyMetadata, MetadataInput } from '../../http/metadata.js'
import type { SpaceRight } from '../../http/permissions.js'
import type { Transaction } from '@bloomery/database'
import type { JobActor } from '../../jobs/jobs.js'
import { actorOf } from '../../jobs/routes.js'
import {
  bindingTarget,
  BOUND_INSTANCE,
  isCreating,
  isMade,
  isManaged,
  spacesOf,
  type BoundInstance,
} from '../../service-bindings/bound-instance.js'
import { brokerError } from '../../service-operations/broker-errors.js'
import { IN_SPACE, type AppInSpace } from '../apps/find-app.js'
import { bindingCredentialsContext, Credentials, instanceCredentialsContext } from '../../runs/environment-sources.js'
import { recordBindingEvent } from './binding-events.js'
import { bindHandler } from './bind-handler.js'
import { BINDING_PARTS, spaceOfBinding, type BindingParts } from './binding-parts.js'
import { isBeingDeleted } from '../service-instances/last-operation.js'
import { createAppBinding, createKey, type MadeBinding, type NewBinding } from './create-binding.js'
import { deleteBinding } from './delete-binding.js'
import { BINDING_INCLUDES, includedOf, listBindings } from './list-bindings.js'
import { presentBinding } from './presenter.js'
import { unbindHandler } from './unbind-handler.js'

const CreateBinding = z.strictObject({
  type: z.enum(['app', 'key'], 'must be "app" or "key"'),
  name: z
    .string('must be a string')
    .min(1, 'must be between 1 and 255 characters')
    .max(255, 'must be between 1 and 255 characters')
    .nullish(),
  relationships: z.strictObject({ service_instance: ToOne, app: ToOne.optional() }),
  parameters: z.record(z.string(), z.unknown(), 'must be an object').nullish(),
  strategy: z.enum(['single', 'multiple'], "must be 'single' or 'multiple'").optional(),
  metadata: MetadataInput.optional(),
})
const BINDING_NAME = /^[\w-]+$/
const UpdateBinding = z.strictObject({ metadata: MetadataInput.optional() })
interface ByGuid {
  Params: { guid: string }
}
const PATH = '/v3/service_credential_bindings/:guid'

/** How apps get to the credentials of services. */
export function serviceCredentialBindingRoutes(app: FastifyInstance, context: Context): void {
  const { db, keyring, operations } = context
  operations.register('credential_binding', 'create', bindHandler(context))
  operations.register('credential_binding', 'delete', unbindHandler(context))
  const find = async (request: FastifyRequest, right: SpaceRight): Promise<BindingParts> => {
    const { guid } = request.params as ByGuid['Params']
    const binding = await db.credentialBinding.findUnique({ where: { guid }, include: BINDING_PARTS })
    if (!binding) throw notFound('Service credential binding')
    await request.access.requireInSpace(right, spaceOfBinding(binding), 'Service credential binding not found')
    return binding
  }

  app.get('/v3/service_credential_bindings', { config: { permission: 'authenticated' } }, (request) => listBindings(db, request))

  app.get<ByGuid>(PATH, { config: { permission: 'space.read' } }, async (request) => {
    const query = parseListQuery(request, { include: BINDING_INCLUDES, labels: false })
    const binding = await find(request, 'space.read')
    return {
      ...presentBinding(binding, request.baseUrl),
      ...(query.includes.size > 0 ? { included: includedOf(query.includes, [binding], request.baseUrl) } : {}),
    }
  })

  app.get<ByGuid>(`${PATH}/details`, { config: { permission: 'space.read_secrets' } }, async (request) => {
    const binding = await find(request, 'space.read_secrets')
    requireMade(binding)
    const { serviceInstance: instance } = binding
    const credentials =
      binding.credentialsEncrypted !== null
        ? keyring.decryptJson(binding.credentialsEncrypted, bindingCredentialsContext(binding.guid), Credentials)
        : instance.credentialsEncrypted !== null
          ? keyring.decryptJson(instance.credentialsEncrypted, instanceCredentialsContext(instance.guid), Credentials)
          : {}
    const drain = binding.syslogDrainUrl ?? instance.syslogDrainUrl
    return { credentials, ...(drain === null ? {} : { syslog_drain_url: drain }), volume_mounts: binding.volumeMounts }
  })

  app.get<ByGuid>(`${PATH}/parameters`, { config: { permission: 'space.read_secrets' } }, async (request, reply) => {
    const binding = await find(request, 'space.read_secrets')
    const { serviceInstance: instance } = binding
    if (!isManaged(instance) || !instance.plan.offering.bindingsRetrievable)
      throw new CfError(
        'ServiceFetchBindingParametersNotSupported',
        'This service does not support fetching service binding parameters.',
      )
    requireMade(binding)
    const target = bindingTarget(instance, binding.guid)
    const client = await context.brokers.of(target.brokerGuid)
    const fetched = await context.brokers.calls.within(request, reply, () =>
      client.fetchBinding(instance.guid, binding.guid, target, { userGuid: request.principal.guid }),
    )
    if (fetched.kind !== 'done') throw brokerError(fetched)
    return fetched.answer.parameters ?? {}
  })

  app.post('/v3/service_credential_bindings', { config: { permission: 'space.develop' } }, async (request, reply) => {
    const input = parseBody(CreateBinding, request.body)
    const instance = await findInstance(request, input.relationships.service_instance.data.guid)
    const wanted = {
      serviceInstanceGuid: instance.guid,
      name: input.name,
      parameters: input.parameters,
      metadata: input.metadata,
    }
    const write = await (input.type === 'key' ? keyWriter : appWriter)(request, input, instance, wanted)
    const { binding, jobGuid } = await db.$transaction((tx) => write(tx, actorOf(request)))
    if (jobGuid === undefined) return reply.code(201).send(presentBinding(binding, request.baseUrl))
    context.operations.kick()
    return reply.code(202).header('location', `${request.baseUrl}/v3/jobs/${jobGuid}`).send({})
  })

  app.patch<ByGuid>(PATH, { config: { permission: 'space.develop' } }, async (request) => {
    const binding = await find(request, 'space.develop')
    if (isBeingDeleted(binding)) throw unprocessable('The service binding is being deleted')
    const { metadata } = parseBody(UpdateBinding, request.body)
    const updated = await db.$transaction(async (tx) => {
      await recordBindingEvent(tx, actorOf(request), binding, spaceOfBinding(binding), 'update')
      return tx.credentialBinding.update({ where: { guid: binding.guid }, data: applyMetadata(binding, metadata) })
    })
    return presentBinding(updated, request.baseUrl)
  })

  app.delete<ByGuid>(PATH, { config: { permission: 'space.develop' } }, async (request, reply) => {
    const binding = await find(request, 'space.develop')
    const { isGone, jobGuid } = await db.$transaction((tx) => deleteBinding(tx, context, actorOf(request), binding))
    if (isGone) return reply.code(204).send()
    context.operations.kick()
    return reply
      .code(202)
      .header('location', `${request.baseUrl}/v3/jobs/${jobGuid ?? ''}`)
      .send({})
  })

  type Input = z.infer<typeof CreateBinding>
  type Write = (tx: Transaction, actor: JobActor) => Promise<MadeBinding>

  async function keyWriter(request: FastifyRequest, input: Input, instance: BoundInstance, wanted: NewBinding): Promise<Write> {
    if (!isManaged(instance))
      throw unprocessable("Service credential bindings of type 'key' are not supported for user-provided service instances.")
    await request.access.requireInSpace('space.develop', instance.space, 'Service instance not found')
    const { name } = input
    if (name == null) throw unprocessable("Name can't be blank")
    return (tx, actor) => createKey(tx, context, actor, { ...wanted, name })
  }

  async function appWriter(request: FastifyRequest, input: Input, instance: BoundInstance, wanted: NewBinding): Promise<Write> {
    if (input.relationships.app === undefined) throw unprocessable("Relationships must include 'app' for a binding of type 'app'")
    const appGuid = input.relationships.app.data.guid
    const app = await requireApp(request, appGuid)
    if (spacesOf(instance).every(({ guid }) => guid !== app.spaceGuid))
      throw unprocessable('The service instance and the app are in different spaces')
    if (input.name != null && !BINDING_NAME.test(input.name))
      throw unprocessable('Name can only contain letters, digits, underscores and hyphens')
    if (input.parameters != null && !isManaged(instance))
      throw unprocessable('Binding parameters are not supported for user-provided service instances')
    return (tx, actor) => createAppBinding(tx, context, actor, { ...wanted, appGuid, strategy: input.strategy })
  }

  /** Seen from its own space, and from those it is shared into. */
  async function findInstance(request: FastifyRequest, guid: string): Promise<BoundInstance> {
    const instance = await db.serviceInstance.findUnique({ where: { guid }, include: BOUND_INSTANCE })
    for (const space of instance ? spacesOf(instance) : [])
      if (instance && (await request.access.hasInSpace('space.read', space))) return instance
    throw unprocessable(`The service instance could not be found: '${guid}'`)
  }

  async function requireApp(request: FastifyRequest, guid: string): Promise<AppInSpace> {
    const found = await db.app.findUnique({ where: { guid }, include: IN_SPACE })
    if (!found || !(await request.access.hasInSpace('space.read', found.space)))
      throw unprocessable(`The app could not be found: '${guid}'`)
    await request.access.requireInSpace('space.develop', found.space, 'App not found')
    return found
  }
}

function requireMade(binding: BindingParts): void {
  if (isMade(binding.lastOperation)) return
  const what = binding.type === 'key' ? 'service key' : 'service binding'
  throw new CfError(
    'ResourceNotFound',
    isCreating(binding.lastOperation) ? `Creation of ${what} in progress` : `Creation of ${what} failed`,
  )
}
