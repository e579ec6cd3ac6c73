import { operatorList } from './operator-list.js'

interface Unusable {
  readonly guid: string
  readonly name: string
  readonly organization: { readonly name: string }
  readonly space: { readonly name: string }
  readonly service_broker: { readonly name: string }
  readonly service_offering: string
  readonly service_plan: string
  readonly last_operation?: { readonly description: string | null }
}

/** Lists instances of which a broker has said that they serve no more, or declares one repaired. */
export const unusableCommand = operatorList<Unusable>({
  verb: 'unusable-services',
  path: '/bloomery/v1/unusable_service_instances',
  none: 'No service broker has said that an instance cannot be used.',
  columns: ['guid', 'name', 'org', 'space', 'offering', 'plan', 'broker', 'message'],
  row: (each) => [
    each.guid,
    each.name,
    each.organization.name,
    each.space.name,
    each.service_offering,
    each.service_plan,
    each.service_broker.name,
    each.last_operation?.description ?? '',
  ],
  then: 'Once one was repaired at its broker: bloom unusable-services repaired GUID',
  actions: { repaired: (client, path) => client.post(`${path}/actions/declare_repaired`, undefined) },
})
