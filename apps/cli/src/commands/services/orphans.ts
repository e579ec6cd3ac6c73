import { operatorList } from './operator-list.js'

interface Orphan {
  readonly guid: string
  readonly state: string
  readonly kind: string
  readonly service_instance_guid: string
  readonly service_binding_guid: string | null
  readonly service_broker: { readonly guid: string; readonly name: string | null }
  readonly reason: string
  readonly attempts: number
  readonly last_error: string | null
  readonly next_attempt_at: string | null
}

/** Lists what brokers may still hold, or has one deletion tried again or forgotten. */
export const orphansCommand = operatorList<Orphan>({
  verb: 'service-orphans',
  path: '/bloomery/v1/orphan_mitigations',
  none: 'No service broker holds anything that nobody wants.',
  columns: ['guid', 'broker', 'kind', 'of', 'state', 'attempts', 'next try', 'last error'],
  row: (each) => [
    each.guid,
    each.service_broker.name ?? each.service_broker.guid,
    each.kind,
    each.service_binding_guid ?? each.service_instance_guid,
    each.state,
    String(each.attempts),
    each.next_attempt_at ?? '',
    each.last_error ?? each.reason,
  ],
  then: 'Try one again: bloom service-orphans retry GUID; once it was removed at the broker: bloom service-orphans forget GUID',
  actions: {
    retry: (client, path) => client.post(`${path}/actions/retry`, undefined),
    forget: (client, path) => client.complete('DELETE', path),
  },
})
