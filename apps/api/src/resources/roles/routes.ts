import { randomUUID } from 'node:crypto'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { isUniqueViolation, type Prisma, type Role, type Transaction } from '@bloomery/database'
import { z } from 'zod'
import { recordAudit } from '../../http/audit.js'
import { parseBody, ToOne } from '../../http/bodies.js'
import type { Context } from '../../http/context.js'
import { notFound, unprocessable } from '../../http/errors.js'
import { requireFeature } from '../../http/feature-flags.js'
import { parseListQuery, presentList, readPage } from '../../http/lists.js'
import { notAuthorized } from '../../http/permissions.js'
import type { JobActor } from '../../jobs/jobs.js'
import { accept, actorOf } from '../../jobs/routes.js'
import { presentOrganization } from '../organizations/presenter.js'
import { presentSpace } from '../spaces/presenter.js'
import { presentUser } from '../users/presenter.js'
import { registerUser } from '../users/register-user.js'
import { findAssignee } from './find-assignee.js'
import { presentRole } from './presenter.js'
import { isSpaceRole, ROLE_TYPES } from './role-types.js'

const CreateRole = z
  .strictObject({
    type: z.enum(ROLE_TYPES, `must be one of the allowed types ${JSON.stringify(ROLE_TYPES)}`),
    relationships: z.strictObject({
      user: z.strictObject({
        data: z.strictObject({ guid: z.string().optional(), username: z.string().optional(), origin: z.string().optional() }),
      }),
      organization: ToOne.nullish(),
      space: ToOne.nullish(),
    }),
  })
  .superRefine(({ type, relationships: { user, organization, space } }, context) => {
    const refuse = (message: string) => context.addIssue({ code: 'custom', message, path: [] })
    const { guid, username, origin } = user.data
    if (guid === undefined && username === undefined) refuse('User must have a username or guid specified')
    if (guid !== undefined && username !== undefined) refuse('Username cannot be specified when identifying user by guid')
    if (guid !== undefined && origin !== undefined) refuse('User origin cannot be specified when identifying user by guid')
    if (username === undefined && origin !== undefined) refuse('User origin cannot be specified without specifying the username')
    if (!organization && !space) refuse('must specify either a space or an organization.')
    else if (organization && space) refuse('cannot specify both an organization and a space.')
    else if (space && !isSpaceRole(type)) refuse(`Space cannot be provided with the organization role type: '${type}'.`)
    else if (organization && isSpaceRole(type)) refuse(`Organization cannot be provided with the space role type: '${type}'.`)
  })
const DeleteRoleParams = z.object({ guid: z.string() })
const NOT_IN_ORGANIZATION = "Users cannot be assigned roles in a space if they do not have a role in that space's organization."
const INCLUDES = ['user', 'organization', 'space'] as const
interface ByGuid {
  Params: { guid: string }
}
type RoleParts = Prisma.RoleGetPayload<{
  include: { user: true; organization: true; space: { include: { organization: true } } }
}>
const PARTS = { user: true, organization: true, space: { include: { organization: true } } } as const

export function roleRoutes(app: FastifyInstance, context: Context): void {
  const { db } = context
  const visible = (request: FastifyRequest): Prisma.RoleWhereInput =>
    request.access.isGlobalReader
      ? {}
      : { OR: [{ space: request.access.spaces() }, { organization: request.access.organizations() }] }
  const find = async (request: FastifyRequest, guid: string): Promise<RoleParts> => {
    const role = await db.role.findFirst({ where: { AND: [{ guid }, visible(request)] }, include: PARTS })
    if (!role) throw notFound('Role')
    return role
  }
  const includedOf = (names: ReadonlySet<string>, roles: readonly RoleParts[], baseUrl: string) => ({
    ...(names.has('user') ? { users: unique(roles.map(({ user }) => user)).map((each) => presentUser(each, baseUrl)) } : {}),
    ...(names.has('organization')
      ? {
          organizations: unique(roles.flatMap(({ organization }) => organization ?? [])).map((each) =>
            presentOrganization(each, baseUrl),
          ),
        }
      : {}),
    ...(names.has('space')
      ? { spaces: unique(roles.flatMap(({ space }) => space ?? [])).map((each) => presentSpace(each, baseUrl)) }
      : {}),
  })

  app.get('/v3/roles', { config: { permission: 'authenticated' } }, async (request) => {
    const query = parseListQuery(request, {
      filters: ['organization_guids', 'space_guids', 'user_guids', 'types'],
      include: INCLUDES,
      labels: false,
    })
    const among = (name: string, column: 'organizationGuid' | 'spaceGuid' | 'userGuid' | 'type'): Prisma.RoleWhereInput[] => {
      const values = query.values(name)
      return values ? [{ [column]: { in: values } }] : []
    }
    const where: Prisma.RoleWhereInput = {
      AND: [
        visible(request),
        ...(query.common as Prisma.RoleWhereInput[]),
        ...among('organization_guids', 'organizationGuid'),
        ...among('space_guids', 'spaceGuid'),
        ...among('user_guids', 'userGuid'),
        ...among('types', 'type'),
      ],
    }
    const page = await readPage(
      query,
      (window) => db.role.findMany({ where, orderBy: query.orderBy, include: PARTS, ...window }),
      () => db.role.count({ where }),
    )
    return presentList(
      request,
      query,
      page,
      (role) => presentRole(role, request.baseUrl),
      includedOf(query.includes, page.rows, request.baseUrl),
    )
  })

  app.get<ByGuid>('/v3/roles/:guid', { config: { permission: 'authenticated' } }, async (request) => {
    const query = parseListQuery(request, { include: INCLUDES, labels: false })
    const role = await find(request, request.params.guid)
    return {
      ...presentRole(role, request.baseUrl),
      ...(query.includes.size > 0 ? { included: includedOf(query.includes, [role], request.baseUrl) } : {}),
    }
  })

  app.post('/v3/roles', { config: { permission: 'role.manage' } }, async (request, reply) => {
    const { type, relationships } = parseBody(CreateRole, request.body)
    const { user } = relationships
    if (user.data.username !== undefined && !request.access.isAdmin) await requireFeature(db, 'set_roles_by_username')
    const place = relationships.space
      ? await spaceForRole(request, relationships.space.data.guid)
      : await organizationForRole(request, relationships.organization?.data.guid ?? '')
    const userGuid = await findAssignee(db, user.data, place.spaceGuid === null ? undefined : NOT_IN_ORGANIZATION)
    const role = await db.$transaction((tx) => createRole(tx, actorOf(request), { type, userGuid, ...place }))
    return reply.code(201).send(presentRole(role, request.baseUrl))
  })

  const requireManagement = async (request: FastifyRequest, role: RoleParts): Promise<void> => {
    if (role.space) await request.access.requireInSpace('space.manage', role.space, 'Role not found')
    else if (role.organization) await request.access.requireInOrganization('org.manage', role.organization, 'Role not found')
  }
  context.jobs.register('role.delete', DeleteRoleParams, ({ params, actor }) => deleteRole(context, params.guid, actor))
  app.delete<ByGuid>('/v3/roles/:guid', { config: { permission: 'role.manage' } }, async (request, reply) => {
    const role = await find(request, request.params.guid)
    await requireManagement(request, role)
    if (role.type === 'organization_user' && role.organizationGuid !== null) {
      const inSpaces = await db.role.count({
        where: { userGuid: role.userGuid, space: { organizationGuid: role.organizationGuid } },
      })
      if (inSpaces > 0)
        throw unprocessable('Cannot delete organization_user role while user has roles in spaces in that organization.')
    }
    return accept(context, request, reply, {
      operation: 'role.delete',
      params: { guid: role.guid },
      resourceType: 'roles',
      resourceGuid: role.guid,
    })
  })

  async function spaceForRole(request: FastifyRequest, guid: string): Promise<RolePlace> {
    const space = await db.space.findUnique({ where: { guid }, include: { organization: true } })
    if (!space || !(await request.access.hasInSpace('space.read', space)))
      throw unprocessable('Invalid space. Ensure that the space exists and you have access to it.')
    await request.access.requireInSpace('space.manage', space, 'Space not found')
    return { organizationGuid: space.organizationGuid, spaceGuid: space.guid, name: space.name }
  }

  async function organizationForRole(request: FastifyRequest, guid: string): Promise<RolePlace> {
    const organization = await db.organization.findUnique({ where: { guid } })
    if (!organization || !(await request.access.hasInOrganization('org.read', guid)))
      throw unprocessable('Invalid organization. Ensure that the organization exists and you have access to it.')
    if (!(await request.access.hasInOrganization('org.manage', guid))) throw notAuthorized()
    await request.access.requireInOrganization('org.manage', organization, 'Organization not found')
    return { organizationGuid: guid, spaceGuid: null, name: organization.name }
  }
}

interface RolePlace {
  readonly organizationGuid: string
  readonly spaceGuid: string | null
  /** Of the space, else of the organization. */
  readonly name: string
}

async function createRole(
  tx: Transaction,
  actor: JobActor,
  wanted: RolePlace & { readonly type: string; readonly userGuid: string },
): Promise<Role> {
  const { type, userGuid, organizationGuid, spaceGuid, name } = wanted
  // Giving and taking of one user's roles in one organization happens one after another, so that no space role outlives the organization's.
  await tx.$executeRaw`SELECT pg_advisory_xact_lock(hashtextextended(${`bloomery:roles:${organizationGuid}:${userGuid}`}, 0))`
  if (spaceGuid !== null && (await tx.role.count({ where: { userGuid, organizationGuid } })) === 0)
    throw unprocessable(NOT_IN_ORGANIZATION)
  const user = await registerUser(tx, userGuid)
  const place = spaceGuid === null ? { organizationGuid } : { spaceGuid }
  if (await tx.role.findFirst({ where: { userGuid, type, ...place } }))
    throw unprocessable(
      `User '${user.username ?? user.guid}' already has '${type}' role in ${spaceGuid === null ? 'organization' : 'space'} '${name}'.`,
    )
  await recordAudit(tx, actor, {
    type: `audit.user.${type}_add`,
    target: { type: 'user', guid: userGuid, name: user.username ?? userGuid },
    spaceGuid,
    organizationGuid,
    data: { request: { type, user: userGuid } },
  })
  try {
    return await tx.role.create({ data: { guid: randomUUID(), type, userGuid, ...place } })
  } catch (error) {
    throw isUniqueViolation(error)
      ? unprocessable(
          `User '${user.username ?? user.guid}' already has '${type}' role in ${spaceGuid === null ? 'organization' : 'space'} '${name}'.`,
        )
      : error
  }
}

async function deleteRole({ db }: Context, guid: string, actor: JobActor): Promise<void> {
  await db.$transaction(async (tx) => {
    const role = await tx.role.findUnique({ where: { guid }, include: { user: true, space: true } })
    if (!role) return
    const organizationGuid = role.organizationGuid ?? role.space?.organizationGuid ?? null
    await tx.$executeRaw`SELECT pg_advisory_xact_lock(hashtextextended(${`bloomery:roles:${organizationGuid}:${role.userGuid}`}, 0))`
    await tx.role.deleteMany({ where: { guid } })
    await recordAudit(tx, actor, {
      type: `audit.user.${role.type}_remove`,
      target: { type: 'user', guid: role.userGuid, name: role.user.username ?? role.userGuid },
      spaceGuid: role.spaceGuid,
      organizationGuid,
    })
  })
}

const unique = <T extends { guid: string }>(rows: readonly T[]): T[] => [...new Map(rows.map((row) => [row.guid, row])).values()]
