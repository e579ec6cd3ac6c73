import { CfError } from '@bloomery/contracts'
import type { ListQuery } from '../../http/lists.js'
import type { InstanceInSpace } from './find-service-instance.js'

/** What `fields[…]` may ask for beside an instance. */
const FIELDS: Readonly<Record<string, readonly string[]>> = {
  space: ['guid', 'name', 'relationships.organization'],
  'space.organization': ['guid', 'name'],
  service_plan: ['guid', 'name', 'relationships.service_offering'],
  'service_plan.service_offering': ['guid', 'name', 'description', 'documentation_url', 'tags', 'relationships.service_broker'],
  'service_plan.service_offering.service_broker': ['guid', 'name'],
}
export const INSTANCE_FIELDS = Object.keys(FIELDS)

/** The `included` of an answer, with just the fields that were asked for; undefined if none were. */
export function includedFields(
  { fields }: ListQuery,
  instances: readonly InstanceInSpace[],
): Record<string, readonly unknown[]> | undefined {
  for (const [resource, asked] of fields) refuseUnknown(resource, asked)
  if (fields.size === 0) return undefined
  const included: Record<string, readonly unknown[]> = {}
  const ofSpace = fields.get('space')
  if (ofSpace)
    included['spaces'] = unique(instances.map(({ space }) => space)).map(({ guid, name, organizationGuid }) =>
      pick(ofSpace, { guid, name, relationships: { organization: { data: { guid: organizationGuid } } } }),
    )
  const ofOrganization = fields.get('space.organization')
  if (ofOrganization)
    included['organizations'] = unique(instances.map(({ space }) => space.organization)).map(({ guid, name }) =>
      pick(ofOrganization, { guid, name }),
    )
  // A user-provided instance has neither plan nor offering nor broker.
  if (fields.has('service_plan')) included['service_plans'] = []
  if (fields.has('service_plan.service_offering')) included['service_offerings'] = []
  if (fields.has('service_plan.service_offering.service_broker')) included['service_brokers'] = []
  return included
}

function refuseUnknown(resource: string, asked: ReadonlySet<string>): void {
  const known = FIELDS[resource] ?? []
  const unknown = [...asked].filter((name) => !known.includes(name))
  if (unknown.length > 0)
    throw new CfError(
      'BadQueryParameter',
      `The query parameter is invalid: Fields ${unknown.map((name) => `'${name}'`).join(', ')} of '${resource}' cannot be asked for. Valid values are: ${known.map((name) => `'${name}'`).join(', ')}`,
    )
}

const pick = <T extends object>(asked: ReadonlySet<string>, whole: T): Partial<T> =>
  Object.fromEntries(
    Object.entries(whole).filter(([name]) => [...asked].some((each) => each === name || each.startsWith(`${name}.`))),
  ) as Partial<T>

const unique = <T extends { guid: string }>(rows: readonly T[]): T[] => [...new Map(rows.map((row) => [row.guid, row])).values()]
