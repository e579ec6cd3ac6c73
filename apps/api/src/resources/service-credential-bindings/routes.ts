import type { FastifyInstance, FastifyRequest } from 'fastify'
import { CfError } from '@bloomery/contracts'
import { z } from 'zod'
import { parseBody, ToOne } from '../../http/bodies.js'
import type { Context } from '../../http/context.js'
import { notFound, unprocessable } from '../../http/errors.js'
import { parseListQuery } from '../../http/lists.js'
import { applyMetadata, MetadataInput } from '../../http/metadata.js'
import type { SpaceRight } from '../../http/permissions.js'
import { actorOf } from '../../jobs/routes.js'
import { bindingCredentialsContext, Credentials, instanceCredentialsContext } from '../../runs/environment-sources.js'
import { recordBindingEvent } from './binding-events.js'
import { createAppBinding } from './create-binding.js'
import { deleteBinding } from './delete-binding.js'
import { BINDING_INCLUDES, BINDING_PARTS, includedOf, listBindings, type BindingParts } from './list-bindings.js'
import { presentBinding } from './presenter.js'

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
  const { db, keyring } = context
  const find = async (request: FastifyRequest, right: SpaceRight): Promise<BindingParts> => {
    const { guid } = request.params as ByGuid['Params']
    const binding = await db.credentialBinding.findUnique({ where: { guid }, include: BINDING_PARTS })
    if (!binding) throw notFound('Service credential binding')
    await request.access.requireInSpace(right, binding.serviceInstance.space, 'Service credential binding not found')
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

  app.get<ByGuid>(`${PATH}/parameters`, { config: { permission: 'space.read_secrets' } }, async (request) => {
    await find(request, 'space.read_secrets')
    throw new CfError('BadRequest', 'This service does not support fetching service binding parameters.')
  })

  app.post('/v3/service_credential_bindings', { config: { permission: 'space.develop' } }, async (request, reply) => {
    const input = parseBody(CreateBinding, request.body)
    const instance = await findInstance(request, input.relationships.service_instance.data.guid)
    if (input.type === 'key')
      throw unprocessable("Service credential bindings of type 'key' are not supported for user-provided service instances.")
    if (input.relationships.app === undefined) throw unprocessable("Relationships must include 'app' for a binding of type 'app'")
    const appGuid = input.relationships.app.data.guid
    await requireApp(request, appGuid)
    if (input.name != null && !BINDING_NAME.test(input.name))
      throw unprocessable('Name can only contain letters, digits, underscores and hyphens')
    if (input.parameters != null) throw unprocessable('Binding parameters are not supported for user-provided service instances')
    const binding = await db.$transaction((tx) =>
      createAppBinding(tx, actorOf(request), {
        appGuid,
        serviceInstanceGuid: instance.guid,
        name: input.name,
        strategy: input.strategy,
        metadata: input.metadata,
      }),
    )
    return reply.code(201).send(presentBinding(binding, request.baseUrl))
  })

  app.patch<ByGuid>(PATH, { config: { permission: 'space.develop' } }, async (request) => {
    const binding = await find(request, 'space.develop')
    const { metadata } = parseBody(UpdateBinding, request.body)
    const updated = await db.$transaction(async (tx) => {
      await recordBindingEvent(tx, actorOf(request), binding, binding.serviceInstance.space, 'update')
      return tx.credentialBinding.update({ where: { guid: binding.guid }, data: applyMetadata(binding, metadata) })
    })
    return presentBinding(updated, request.baseUrl)
  })

  app.delete<ByGuid>(PATH, { config: { permission: 'space.develop' } }, async (request, reply) => {
    const binding = await find(request, 'space.develop')
    await db.$transaction((tx) => deleteBinding(tx, actorOf(request), binding))
    return reply.code(204).send()
  })

  async function findInstance(request: FastifyRequest, guid: string) {
    const instance = await db.serviceInstance.findUnique({
      where: { guid },
      include: { space: { include: { organization: true } } },
    })
    if (!instance || !(await request.access.hasInSpace('space.read', instance.space)))
      throw unprocessable(`The service instance could not be found: '${guid}'`)
    await request.access.requireInSpace('space.develop', instance.space, 'Service instance not found')
    return instance
  }

  async function requireApp(request: FastifyRequest, guid: string): Promise<void> {
    const found = await db.app.findUnique({ where: { guid }, include: { space: { include: { organization: true } } } })
    if (!found || !(await request.access.hasInSpace('space.read', found.space)))
      throw unprocessable(`The app could not be found: '${guid}'`)
    await request.access.requireInSpace('space.develop', found.space, 'App not found')
  }
}
