import { includedFields as included, requireKnownFields } from '../../http/fields.js'
import type { ListQuery } from '../../http/lists.js'
import { documentationUrlOf } from '../service-offerings/presenter.js'
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
  query: ListQuery,
  instances: readonly InstanceInSpace[],
): Record<string, readonly unknown[]> | undefined {
  requireKnownFields(query, FIELDS)
  if (query.fields.size === 0) return undefined
  const spaces = instances.map(({ space }) => space)
  const plans = instances.flatMap(({ plan }) => plan ?? [])
  return {
    ...included(query, 'space', 'spaces', () =>
      spaces.map(({ guid, name, organizationGuid }) => ({
        guid,
        name,
        relationships: { organization: { data: { guid: organizationGuid } } },
      })),
    ),
    ...included(query, 'space.organization', 'organizations', () =>
      spaces.map(({ organization: { guid, name } }) => ({ guid, name })),
    ),
    ...included(query, 'service_plan', 'service_plans', () =>
      plans.map(({ guid, name, offeringGuid }) => ({
        guid,
        name,
        relationships: { service_offering: { data: { guid: offeringGuid } } },
      })),
    ),
    ...included(query, 'service_plan.service_offering', 'service_offerings', () =>
      plans.map(({ offering }) => ({
        guid: offering.guid,
        name: offering.name,
        description: offering.description,
        documentation_url: documentationUrlOf(offering),
        tags: offering.tags,
        relationships: { service_broker: { data: { guid: offering.brokerGuid } } },
      })),
    ),
    ...included(query, 'service_plan.service_offering.service_broker', 'service_brokers', () =>
      plans.map(({ offering: { broker } }) => ({ guid: broker.guid, name: broker.name })),
    ),
  }
}
