import type { ServiceBroker, ServiceOffering, ServicePlan } from '@bloomery/client'
import type { Context } from '../../context.js'

export async function marketplace(
  context: Context,
  flags: { readonly offering?: string; readonly broker?: string; readonly showUnavailable?: boolean },
): Promise<void> {
  const { client, terminal, space } = context
  context.announce('Getting services from the marketplace')
  const plans = await client.list<ServicePlan>('/v3/service_plans', {
    space_guids: space.guid,
    ...(flags.showUnavailable ? {} : { available: 'true' }),
    ...(flags.offering === undefined ? {} : { service_offering_names: [flags.offering] }),
    ...(flags.broker === undefined ? {} : { service_broker_names: [flags.broker] }),
  })
  if (plans.length === 0) return terminal.line('No service offerings found.')
  if (flags.offering !== undefined)
    return terminal.table(
      ['plan', 'description', 'free or paid', 'available'],
      plans.map(({ name, description, free, available }) => [
        name,
        description,
        free ? 'free' : 'paid',
        available ? 'yes' : 'no',
      ]),
    )
  const [offerings, brokers] = await Promise.all([
    client.list<ServiceOffering>('/v3/service_offerings', { space_guids: space.guid }),
    client.list<ServiceBroker>('/v3/service_brokers'),
  ])
  const rows = offerings.flatMap((offering) => {
    const own = plans.filter(({ relationships }) => relationships.service_offering.data?.guid === offering.guid)
    const broker = brokers.find(({ guid }) => guid === offering.relationships.service_broker.data?.guid)
    return own.length === 0
      ? []
      : [[offering.name, own.map(({ name }) => name).join(', '), offering.description, broker?.name ?? '']]
  })
  terminal.table(['offering', 'plans', 'description', 'broker'], rows)
  terminal.line("\nTIP: Use 'bloom marketplace -e OFFERING' to see the plans of an offering.")
}
