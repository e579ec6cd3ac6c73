import { CfError } from '@bloomery/contracts'
import { rows, sql, type Pool, type Prisma } from '@bloomery/database'
import { isAdmin, isGlobalReader, type Principal } from './principal.js'

/**
 * Who may call a route; each route declares one in its config, and a route without one does not start. The coarse part (token, scope,
 * admin) is checked by the hook; the part that depends on a resource is checked by the handler through `Access`, under the same name.
 */
export const PERMISSIONS = {
  public: { token: false, scope: null, adminOnly: false },
  /** Open to all; a token that is given is read, and lets its bearer see more. */
  marketplace: { token: false, scope: 'read', adminOnly: false, readsToken: true },
  /** Any valid token: for what tokens themselves are about. */
  token: { token: true, scope: null, adminOnly: false },
  /** Any token that may read here at all; lists are scoped to what the caller may see. */
  authenticated: { token: true, scope: 'read', adminOnly: false },
  /** Everybody, where a feature flag says so. */
  'organization.create': { token: true, scope: 'write', adminOnly: false },
  /** Who the bearer is. */
  openid: { token: true, scope: null, adminOnly: false, anyOf: ['openid'] },
  /** For the dashboards of service brokers, whose tokens may do nothing else. */
  'service.permissions': {
    token: true,
    scope: null,
    adminOnly: false,
    anyOf: [
      'cloud_controller_service_permissions.read',
      'cloud_controller.read',
      'cloud_controller.admin',
      'cloud_controller.admin_read_only',
      'cloud_controller.global_auditor',
    ],
  },
  'org.read': { token: true, scope: 'read', adminOnly: false },
  'org.manage': { token: true, scope: 'write', adminOnly: false },
  'space.read': { token: true, scope: 'read', adminOnly: false },
  /** Environment variables and credentials. */
  'space.read_secrets': { token: true, scope: 'read', adminOnly: false },
  /** Start, stop, restart: developers and supporters. */
  'space.operate': { token: true, scope: 'write', adminOnly: false },
  'space.develop': { token: true, scope: 'write', adminOnly: false },
  'space.manage': { token: true, scope: 'write', adminOnly: false },
  'role.manage': { token: true, scope: 'write', adminOnly: false },
  'admin.read': { token: true, scope: 'read', adminOnly: false },
  admin: { token: true, scope: 'write', adminOnly: true },
  // The user directory and service accounts: by the token's own scopes.
  'users.read': { token: true, scope: null, adminOnly: false, anyOf: ['scim.read', 'scim.write', 'uaa.admin'] },
  'users.write': { token: true, scope: null, adminOnly: false, anyOf: ['scim.write', 'uaa.admin'] },
  'clients.read': { token: true, scope: null, adminOnly: false, anyOf: ['clients.read', 'clients.write', 'uaa.admin'] },
  'clients.write': { token: true, scope: null, adminOnly: false, anyOf: ['clients.write', 'uaa.admin'] },
} as const satisfies Record<
  string,
  { token: boolean; scope: 'read' | 'write' | null; adminOnly: boolean; anyOf?: readonly string[]; readsToken?: true }
>
export type Permission = keyof typeof PERMISSIONS

interface HeldRole {
  readonly type: string
  readonly organization_guid: string
  readonly space_guid: string | null
}
export type SpaceRight = 'space.read' | 'space.read_secrets' | 'space.operate' | 'space.develop' | 'space.manage'

const SPACE_ROLES: Record<SpaceRight, readonly string[]> = {
  'space.read': ['space_developer', 'space_manager', 'space_auditor', 'space_supporter'],
  'space.read_secrets': ['space_developer'],
  'space.operate': ['space_developer', 'space_supporter'],
  'space.develop': ['space_developer'],
  'space.manage': ['space_manager'],
}
/** Organization roles that carry a right into each of its spaces. */
const ORG_ROLES_IN_SPACES: Record<SpaceRight, readonly string[]> = {
  'space.read': ['organization_manager'],
  'space.read_secrets': [],
  'space.operate': [],
  'space.develop': [],
  'space.manage': ['organization_manager'],
}

/** What one caller may do; roles are read once per request, when first asked for. */
export class Access {
  #roles: Promise<HeldRole[]> | undefined
  constructor(
    readonly principal: Principal,
    readonly pool: Pool,
  ) {}

  get isAdmin(): boolean {
    return isAdmin(this.principal)
  }
  get isGlobalReader(): boolean {
    return isGlobalReader(this.principal)
  }

  #held(): Promise<HeldRole[]> {
    return (this.#roles ??= rows<HeldRole>(
      this.pool,
      sql`SELECT r.type, COALESCE(r.organization_guid, s.organization_guid) AS organization_guid, r.space_guid
          FROM roles r LEFT JOIN spaces s ON s.guid = r.space_guid WHERE r.user_guid = ${this.principal.guid}`,
    ))
  }

  async hasInSpace(right: SpaceRight, space: { guid: string; organizationGuid: string }): Promise<boolean> {
    if (this.isAdmin) return true
    if (right === 'space.read' && this.isGlobalReader) return true
    if (right === 'space.read_secrets' && this.principal.scopes.has('cloud_controller.admin_read_only')) return true
    return (await this.#held()).some(
      (role) =>
        (role.space_guid === space.guid && SPACE_ROLES[right].includes(role.type)) ||
        (role.organization_guid === space.organizationGuid && ORG_ROLES_IN_SPACES[right].includes(role.type)),
    )
  }

  async hasInOrganization(right: 'org.read' | 'org.manage', organizationGuid: string): Promise<boolean> {
    if (this.isAdmin || (right === 'org.read' && this.isGlobalReader)) return true
    const held = (await this.#held()).filter((role) => role.organization_guid === organizationGuid)
    return right === 'org.read' ? held.length > 0 : held.some((role) => role.type === 'organization_manager')
  }

  /**
   * Refuses unless the caller has the right: 404 for what may not be seen at all (worded by `hidden`), 403 for what may be seen but not done,
   * 403 too in a suspended organization for whoever is no admin.
   */
  async requireInSpace(
    right: SpaceRight,
    space: { guid: string; organizationGuid: string; organization?: { suspended: boolean } },
    hidden: string,
  ): Promise<void> {
    if (!(await this.hasInSpace('space.read', space))) throw new CfError('ResourceNotFound', hidden)
    if (!(await this.hasInSpace(right, space))) throw notAuthorized()
    if (right !== 'space.read' && right !== 'space.read_secrets' && space.organization?.suspended && !this.isAdmin)
      throw notAuthorized()
  }

  async requireInOrganization(
    right: 'org.read' | 'org.manage',
    organization: { guid: string; suspended?: boolean },
    hidden: string,
  ): Promise<void> {
    if (!(await this.hasInOrganization('org.read', organization.guid))) throw new CfError('ResourceNotFound', hidden)
    if (!(await this.hasInOrganization(right, organization.guid))) throw notAuthorized()
    if (right === 'org.manage' && organization.suspended && !this.isAdmin) throw notAuthorized()
  }

  requireAdmin(): void {
    if (!this.isAdmin) throw notAuthorized()
  }

  // ---- scoping of lists: settled in SQL

  organizations(): Prisma.OrganizationWhereInput {
    if (this.isGlobalReader) return {}
    const userGuid = this.principal.guid
    return { OR: [{ roles: { some: { userGuid } } }, { spaces: { some: { roles: { some: { userGuid } } } } }] }
  }

  /** Organizations whose private domains the caller may see. */
  organizationsForDomains(): Prisma.OrganizationWhereInput {
    if (this.isGlobalReader) return {}
    const userGuid = this.principal.guid
    return {
      OR: [
        { roles: { some: { userGuid, type: { in: ['organization_manager', 'organization_auditor'] } } } },
        { spaces: { some: { roles: { some: { userGuid } } } } },
      ],
    }
  }

  /** Oneself, and whoever has a role in an organization that the caller may see. */
  users(): Prisma.UserWhereInput {
    if (this.isGlobalReader) return {}
    return {
      OR: [
        { guid: this.principal.guid },
        { roles: { some: { organization: this.organizations() } } },
        { roles: { some: { space: { organization: this.organizations() } } } },
      ],
    }
  }

  spaces(): Prisma.SpaceWhereInput {
    if (this.isGlobalReader) return {}
    const userGuid = this.principal.guid
    return {
      OR: [
        { roles: { some: { userGuid, type: { in: [...SPACE_ROLES['space.read']] } } } },
        { organization: { roles: { some: { userGuid, type: { in: [...ORG_ROLES_IN_SPACES['space.read']] } } } } },
      ],
    }
  }
}

export const notAuthorized = (): CfError => new CfError('NotAuthorized', 'You are not authorized to perform the requested action')
