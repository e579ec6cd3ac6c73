/** What every user may be granted through the client `cf`. */
export const USER_SCOPES = [
  'openid',
  'uaa.user',
  'password.write',
  'cloud_controller.read',
  'cloud_controller.write',
  'cloud_controller_service_permissions.read',
  'network.write',
] as const

/** What the admin user has beyond that. */
export const ADMIN_SCOPES = [
  'cloud_controller.admin',
  'scim.read',
  'scim.write',
  'scim.userids',
  'uaa.admin',
  'clients.read',
  'clients.write',
  'network.admin',
  'routing.router_groups.read',
  'routing.router_groups.write',
  'doppler.firehose',
  'logs.admin',
] as const

/** What the client `cf` passes on, if the user has it. */
export const CF_CLIENT_SCOPES: readonly string[] = [
  ...USER_SCOPES,
  ...ADMIN_SCOPES,
  'cloud_controller.admin_read_only',
  'cloud_controller.global_auditor',
]
