/** Who is calling, from a verified access token. */
export interface Principal {
  readonly kind: 'user' | 'client'
  /** The user's guid, or the client's id. */
  readonly guid: string
  readonly name: string
  readonly origin: string | null
  readonly scopes: ReadonlySet<string>
}
export const isAdmin = (principal: Principal): boolean => principal.scopes.has('cloud_controller.admin')
/** May read everything, and change nothing that is not its own. */
export const isGlobalReader = (principal: Principal): boolean =>
  isAdmin(principal) ||
  principal.scopes.has('cloud_controller.admin_read_only') ||
  principal.scopes.has('cloud_controller.global_auditor')
