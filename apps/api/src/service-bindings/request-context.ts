import type { Organization, Space } from '@bloomery/database'
import { PLATFORM, type RequestContext } from '@bloomery/osb'

type SpaceInOrganization = Pick<Space, 'guid' | 'name' | 'annotations'> & {
  readonly organization: Pick<Organization, 'guid' | 'name' | 'annotations'>
}

/** Brokers see the annotations that somebody meant for others: those with a prefix. */
export const sharedAnnotations = (annotations: unknown): Record<string, string> =>
  Object.fromEntries(Object.entries((annotations ?? {}) as Record<string, string>).filter(([key]) => key.includes('/')))

/** The context object of a request about a binding: where the instance is at home. */
export const bindingContext = (space: SpaceInOrganization): RequestContext => ({
  platform: PLATFORM,
  organization_guid: space.organization.guid,
  organization_name: space.organization.name,
  organization_annotations: sharedAnnotations(space.organization.annotations),
  space_guid: space.guid,
  space_name: space.name,
  space_annotations: sharedAnnotations(space.annotations),
})
