import { randomUUID } from 'node:crypto'
import type { FastifyInstance } from 'fastify'
import { isUniqueViolation, type Prisma, type User } from '@bloomery/database'
import { z } from 'zod'
import { recordAudit } from '../http/audit.js'
import type { Context } from '../http/context.js'
import { actorOf } from '../jobs/routes.js'
import { OauthError } from './oauth-error.js'
import { hashPassword, passwordMatches } from './passwords.js'
import { parseScimFilter } from './scim-filter.js'
import type { Tokens } from './tokens.js'

const CreateUser = z.object({
  userName: z.string().optional(),
  password: z.string().optional(),
  origin: z.string().optional(),
  active: z.boolean().optional(),
  name: z.object({ familyName: z.string().optional(), givenName: z.string().optional() }).optional(),
  emails: z.array(z.object({ value: z.string(), primary: z.boolean().optional() })).optional(),
})
const ChangePassword = z.object({ password: z.string(), oldPassword: z.string().optional() })
const Paging = z.object({
  filter: z.string().default(''),
  startIndex: z.coerce.number().int().min(1).default(1),
  count: z.coerce.number().int().min(0).max(500).default(100),
})
const USERNAME = /^[\p{L}0-9+\-_.@'!]+$/u
interface ById {
  Params: { id: string }
}

/** The user directory (SCIM as UAA speaks it). */
export function userRoutes(app: FastifyInstance, context: Context, tokens: Tokens): void {
  const { db } = context
  const find = async (id: string): Promise<User> => {
    const user = await db.user.findUnique({ where: { guid: id } })
    // Clients that hold roles have a row too, without a name; they are no users.
    if (user?.username == null) throw new OauthError('scim_resource_not_found', `User ${id} does not exist`)
    return user
  }

  app.get('/Users', { config: { permission: 'users.read' } }, async (request) => {
    const query = parse(Paging, request.query)
    const where: Prisma.UserWhereInput = { AND: [{ username: { not: null } }, ...parseScimFilter(query.filter)] }
    const [found, total] = await Promise.all([
      db.user.findMany({
        where,
        orderBy: [{ createdAt: 'asc' }, { guid: 'asc' }],
        skip: query.startIndex - 1,
        take: query.count,
      }),
      db.user.count({ where }),
    ])
    return {
      resources: found.map(presentScimUser),
      startIndex: query.startIndex,
      itemsPerPage: query.count,
      totalResults: total,
      schemas: ['urn:scim:schemas:core:1.0'],
    }
  })

  app.get<ById>('/Users/:id', { config: { permission: 'users.read' } }, async (request) =>
    presentScimUser(await find(request.params.id)),
  )

  app.post('/Users', { config: { permission: 'users.write' } }, async (request, reply) => {
    const input = parse(CreateUser, request.body)
    const origin = input.origin || 'uaa'
    const username = input.userName ?? ''
    if (username === '') throw new OauthError('invalid_scim_resource', 'A username must be provided.')
    if (origin === 'uaa' && !USERNAME.test(username))
      throw new OauthError('invalid_scim_resource', `Username must match pattern: ${USERNAME.source}`)
    if (origin === 'uaa' && !input.password)
      throw new OauthError('invalid_password', 'Password must be at least 1 characters in length.')
    const guid = randomUUID()
    const passwordHash = origin === 'uaa' && input.password ? await hashPassword(input.password) : null
    try {
      const user = await db.$transaction(async (tx) => {
        const created = await tx.user.create({
          data: {
            guid,
            username,
            origin,
            passwordHash,
            active: input.active ?? true,
            email: input.emails?.[0]?.value ?? username,
            givenName: input.name?.givenName ?? null,
            familyName: input.name?.familyName ?? null,
          },
        })
        await recordAudit(tx, actorOf(request), { type: 'audit.user.create', target: { type: 'user', guid, name: username } })
        return created
      })
      return await reply.code(201).send(presentScimUser(user))
    } catch (error) {
      throw isUniqueViolation(error)
        ? new OauthError('scim_resource_already_exists', `Username already in use: ${username}`)
        : error
    }
  })

  app.delete<ById>('/Users/:id', { config: { permission: 'users.write' } }, async (request) => {
    const user = await find(request.params.id)
    await tokens.revokeUser(user.guid)
    await db.$transaction(async (tx) => {
      await tx.user.delete({ where: { guid: user.guid } })
      await recordAudit(tx, actorOf(request), {
        type: 'audit.user.delete',
        target: { type: 'user', guid: user.guid, name: user.username ?? user.guid },
      })
    })
    return presentScimUser(user)
  })

  app.put<ById>('/Users/:id/password', { config: { permission: 'token' } }, async (request) => {
    const { scopes, guid } = request.principal
    const isOperator = scopes.has('uaa.admin')
    const isOwn = guid === request.params.id && scopes.has('password.write')
    if (!isOperator && !isOwn) throw new OauthError('insufficient_scope', 'Only one’s own password can be changed.')
    const user = await find(request.params.id)
    const input = parse(ChangePassword, request.body)
    if (isOwn && !(await passwordMatches(input.oldPassword ?? '', user.passwordHash)))
      throw new OauthError('unauthorized', 'Old password is incorrect')
    if (input.password === '') throw new OauthError('invalid_password', 'Password must be at least 1 characters in length.')
    if (await passwordMatches(input.password, user.passwordHash))
      throw new OauthError('invalid_password', 'Your new password cannot be the same as the old password.')
    const passwordHash = await hashPassword(input.password)
    await db.$transaction(async (tx) => {
      await tx.user.update({ where: { guid: user.guid }, data: { passwordHash, failedLogins: 0, lockedUntil: null } })
      await recordAudit(tx, actorOf(request), {
        type: 'audit.user.password_change',
        target: { type: 'user', guid: user.guid, name: user.username ?? user.guid },
      })
    })
    await tokens.revokeUser(user.guid)
    return { status: 'ok', message: 'password updated' }
  })
}

const presentScimUser = (user: User) => ({
  id: user.guid,
  userName: user.username,
  origin: user.origin,
  active: user.active,
  verified: true,
  name: { familyName: user.familyName ?? user.username, givenName: user.givenName ?? user.username },
  emails: [{ value: user.email ?? user.username, primary: true }],
  groups: user.scopes.map((scope) => ({ value: scope, display: scope, type: 'DIRECT' })),
  zoneId: 'uaa',
  meta: { version: 0, created: user.createdAt.toISOString(), lastModified: user.updatedAt.toISOString() },
  schemas: ['urn:scim:schemas:core:1.0'],
})

function parse<T>(schema: z.ZodType<T>, input: unknown): T {
  const result = schema.safeParse(input ?? {})
  if (result.success) return result.data
  const issue = result.error.issues[0]
  throw new OauthError('invalid_scim_resource', `${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'is malformed'}`)
}
