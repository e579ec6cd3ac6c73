export const ORGANIZATION_ROLES = [
  'organization_user',
  'organization_auditor',
  'organization_manager',
  'organization_billing_manager',
] as const
export const SPACE_ROLES = ['space_auditor', 'space_developer', 'space_manager', 'space_supporter'] as const
export const ROLE_TYPES = [...ORGANIZATION_ROLES, ...SPACE_ROLES] as const
export type RoleType = (typeof ROLE_TYPES)[number]
export const isSpaceRole = (type: string): boolean => type.startsWith('space_')
