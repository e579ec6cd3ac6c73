import type { FastifyInstance, FastifyRequest } from 'fastify'
import { CfError } from '@bloomery/contracts'
import type { User } from '@bloomery/database'
import { z } from 'zod'
import { recordAudit } from '../../http/audit.js'
import { parseBody } from '../../http/bodies.js'
import type { Context } from '../../http/context.js'
import { notFound, unprocessable } from '../../http/errors.js'
import { applyMetadata, MetadataInput } from '../../http/metadata.js'
import { accept, actorOf } from '../../jobs/routes.js'
import { listUsers } from './list-users.js'
import { presentUser } from './presenter.js'
import { registerUser } from './register-user.js'

const CreateUser = z.strictObject({
  guid: z.string('must be a string').min(1, "can't be blank").max(200).optional(),
  username: z.string('must be a string').min(1).optional(),
  origin: z.string('must be a string').min(1).optional(),
  metadata: MetadataInput.optional(),
})
const UpdateUser = z.strictObject({ metadata: MetadataInput.optional() })
const DeleteUserParams = z.object({ guid: z.string() })
interface ByGuid {
  Params: { guid: string }
}

/** Identities as the platform knows them; passwords and logins are the user directory's business. */
export function userRoutes(app: FastifyInstance, context: Context): void {
  const { db } = context
  const find = async (request: FastifyRequest, guid: string): Promise<User | null> =>
    db.user.findFirst({ where: { AND: [{ guid, registered: true }, request.access.users()] } })

  app.get('/v3/users', { config: { permission: 'authenticated' } }, async (request) =>
    listUsers(db, request, { AND: [{ registered: true }, request.access.users()] }),
  )

  app.get<ByGuid>('/v3/users/:guid', { config: { permission: 'authenticated' } }, async (request) => {
    const user = await find(request, request.params.guid)
    if (!user) throw notFound('User')
    return presentUser(user, request.baseUrl)
  })

  app.post('/v3/users', { config: { permission: 'admin' } }, async (request, reply) => {
    const input = parseBody(CreateUser, request.body)
    const guid = await identityOf(input)
    const user = await db.$transaction(async (tx) => {
      const registered = await registerUser(tx, guid)
      await recordAudit(tx, actorOf(request), {
        type: 'audit.user.register',
        target: { type: 'user', guid, name: registered.username ?? guid },
      })
      return tx.user.update({ where: { guid }, data: applyMetadata(registered, input.metadata) })
    })
    return reply.code(201).send(presentUser(user, request.baseUrl))
  })

  app.patch<ByGuid>('/v3/users/:guid', { config: { permission: 'admin' } }, async (request) => {
    const user = await find(request, request.params.guid)
    if (!user) throw notFound('User')
    const { metadata } = parseBody(UpdateUser, request.body)
    const updated = await db.$transaction(async (tx) => {
      await recordAudit(tx, actorOf(request), {
        type: 'audit.user.update',
        target: { type: 'user', guid: user.guid, name: user.username ?? user.guid },
      })
      return tx.user.update({ where: { guid: user.guid }, data: applyMetadata(user, metadata) })
    })
    return presentUser(updated, request.baseUrl)
  })

  context.jobs.register('user.delete', DeleteUserParams, async ({ params: { guid }, actor }) => {
    await db.$transaction(async (tx) => {
      const user = await tx.user.findUnique({ where: { guid } })
      if (!user?.registered) return
      await tx.role.deleteMany({ where: { userGuid: guid } })
      // A service account is known here only by its roles; a user stays in the directory until removed from there.
      if (user.username === null) await tx.user.delete({ where: { guid } })
      else await tx.user.update({ where: { guid }, data: { registered: false, labels: {}, annotations: {} } })
      await recordAudit(tx, actor, {
        type: 'audit.user.unregister',
        target: { type: 'user', guid, name: user.username ?? guid },
      })
    })
  })
  app.delete<ByGuid>('/v3/users/:guid', { config: { permission: 'admin' } }, async (request, reply) => {
    const user = await find(request, request.params.guid)
    // The client goes on to remove the user from the directory unless the detail is exactly "User not found".
    if (!user) throw new CfError('ResourceNotFound', 'User not found: it is not registered with the platform')
    return accept(context, request, reply, {
      operation: 'user.delete',
      params: { guid: user.guid },
      resourceType: 'users',
      resourceGuid: user.guid,
    })
  })

  async function identityOf(input: z.infer<typeof CreateUser>): Promise<string> {
    if (input.guid !== undefined) {
      if (input.username !== undefined) throw unprocessable("Username cannot be provided with 'guid'")
      if (input.origin !== undefined) throw unprocessable("Origin cannot be provided with 'guid'")
      return input.guid
    }
    if (input.username === undefined && input.origin === undefined)
      throw unprocessable("Guid or 'username' and 'origin' must be provided")
    if (input.username === undefined) throw unprocessable("Origin can only be provided together with 'username'")
    if (input.origin === undefined) throw unprocessable("Username can only be provided together with 'origin'")
    if (input.origin === 'uaa') throw unprocessable("Origin cannot be 'uaa' when creating a user by username")
    const user = await db.user.findFirst({
      where: { username: { equals: input.username, mode: 'insensitive' }, origin: input.origin },
    })
    if (!user) throw unprocessable(`No user exists with the username '${input.username}' and origin '${input.origin}'.`)
    return user.guid
  }
}
