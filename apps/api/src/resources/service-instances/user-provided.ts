import { randomUUID } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { Prisma } from '@bloomery/database'
import type { Context } from '../../http/context.js'
import { applyMetadata } from '../../http/metadata.js'
import { actorOf } from '../../jobs/routes.js'
import { instanceCredentialsContext } from '../../runs/environment-sources.js'
import type { SpaceInOrganization } from '../spaces/find-space.js'
import { requireFreeName } from './create-managed.js'
import { lockServiceInstance, type InstanceInSpace } from './find-service-instance.js'
import type { CreateUserProvided, UpdateUserProvided } from './inputs.js'
import { recordInstanceEvent } from './instance-events.js'
import { succeeded } from './last-operation.js'
import { presentServiceInstance } from './presenter.js'
import type { z } from 'zod'

/** Keeps what a user says of a service that no broker knows. */
export async function createUserProvided(
  { db, keyring, now }: Context,
  request: FastifyRequest,
  reply: FastifyReply,
  input: z.infer<typeof CreateUserProvided>,
  space: SpaceInOrganization,
): Promise<FastifyReply> {
  const guid = randomUUID()
  const instance = await db.$transaction(async (tx) => {
    await requireFreeName(tx, space, input.name)
    const created = await tx.serviceInstance.create({
      data: {
        guid,
        name: input.name,
        type: 'user-provided',
        spaceGuid: space.guid,
        tags: input.tags ?? [],
        syslogDrainUrl: input.syslog_drain_url || null,
        routeServiceUrl: input.route_service_url || null,
        ...(input.credentials
          ? { credentialsEncrypted: { ...keyring.encryptJson(input.credentials, instanceCredentialsContext(guid)) } }
          : {}),
        lastOperation: { ...succeeded('create', now()) },
        ...applyMetadata(undefined, input.metadata),
      },
    })
    await recordInstanceEvent(tx, actorOf(request), { ...created, space }, 'create', requestOf(input))
    return created
  })
  return reply.code(201).send(presentServiceInstance(instance, request.baseUrl))
}

export async function updateUserProvided(
  context: Context,
  request: FastifyRequest,
  { guid }: InstanceInSpace,
  input: UpdateUserProvided,
) {
  const { db, now, nudges } = context
  const updated = await db.$transaction(async (tx) => {
    const present = await lockServiceInstance(tx, guid)
    if (input.name !== undefined) await requireFreeName(tx, present.space, input.name, guid)
    const named = { ...present, name: input.name ?? present.name }
    await recordInstanceEvent(tx, actorOf(request), named, 'update', requestOf(input))
    return tx.serviceInstance.update({
      where: { guid },
      data: {
        ...(input.name === undefined ? {} : { name: input.name }),
        ...(input.tags == null ? {} : { tags: input.tags }),
        ...(input.syslog_drain_url === undefined ? {} : { syslogDrainUrl: input.syslog_drain_url || null }),
        ...(input.route_service_url === undefined ? {} : { routeServiceUrl: input.route_service_url || null }),
        ...credentialsAfter(context, guid, input),
        // Metadata alone is no operation on the service.
        ...(Object.keys(input).some((key) => key !== 'metadata') ? { lastOperation: { ...succeeded('update', now()) } } : {}),
        ...applyMetadata(present, input.metadata),
      },
    })
  })
  // Routes that it stands in front of lead elsewhere now.
  if (input.route_service_url !== undefined) nudges.send({ topic: 'scheduler' })
  return presentServiceInstance(updated, request.baseUrl)
}

/** Given credentials replace those that were; an absent key leaves them. */
function credentialsAfter({ keyring }: Context, guid: string, { credentials }: UpdateUserProvided) {
  if (credentials === undefined) return {}
  if (credentials === null || Object.keys(credentials).length === 0) return { credentialsEncrypted: Prisma.DbNull }
  return { credentialsEncrypted: { ...keyring.encryptJson(credentials, instanceCredentialsContext(guid)) } }
}

/** What the event tells of the request: never the credentials. */
const requestOf = (input: Partial<UpdateUserProvided>): Prisma.InputJsonObject => ({
  ...(input.name === undefined ? {} : { name: input.name }),
  ...(input.tags == null ? {} : { tags: input.tags }),
  ...(input.credentials === undefined ? {} : { credentials: '[PRIVATE DATA HIDDEN]' }),
  // Addresses may carry a password.
  ...(input.syslog_drain_url === undefined ? {} : { syslog_drain_url: '[PRIVATE DATA HIDDEN]' }),
  ...(input.route_service_url === undefined ? {} : { route_service_url: '[PRIVATE DATA HIDDEN]' }),
})
