import { Prisma, type CredentialBinding, type ServiceInstance, type Transaction } from '@bloomery/database'

/** What each step of an operation reads anew, in one query: by includes every part would be a query of its own. */
type Reader = Pick<Transaction, '$queryRaw'>

interface Named {
  readonly guid: string
  readonly name: string
  readonly annotations: Prisma.JsonValue
}
/** What its broker is told of an instance, and no more. */
export interface OperatedInstance extends Named {
  readonly spaceGuid: string
  readonly maintenanceInfo: Prisma.JsonValue
  readonly space: Named & { readonly organizationGuid: string; readonly organization: Named }
  readonly plan: {
    readonly catalogId: string
    readonly maintenanceInfo: Prisma.JsonValue
    readonly maximumPollingDuration: number | null
    readonly offering: {
      readonly brokerGuid: string
      readonly catalogId: string
      readonly instancesRetrievable: boolean
      readonly bindingsRetrievable: boolean
      readonly requires: string[]
    }
  } | null
}
/** The same of a key, or of an app's binding. */
export interface OperatedBinding {
  readonly guid: string
  readonly app: { readonly guid: string; readonly spaceGuid: string; readonly annotations: Prisma.JsonValue } | null
  readonly serviceInstance: OperatedInstance
}

const INSTANCE = Prisma.sql`jsonb_build_object(
  'guid', i.guid, 'name', i.name, 'annotations', i.annotations, 'spaceGuid', i.space_guid, 'maintenanceInfo', i.maintenance_info,
  'space', jsonb_build_object('guid', s.guid, 'name', s.name, 'annotations', s.annotations, 'organizationGuid', s.organization_guid,
    'organization', jsonb_build_object('guid', o.guid, 'name', o.name, 'annotations', o.annotations)),
  'plan', CASE WHEN p.guid IS NOT NULL THEN jsonb_build_object(
    'catalogId', p.catalog_id, 'maintenanceInfo', p.maintenance_info, 'maximumPollingDuration', p.maximum_polling_duration,
    'offering', jsonb_build_object('brokerGuid', f.broker_guid, 'catalogId', f.catalog_id, 'requires', f.requires,
      'instancesRetrievable', f.instances_retrievable, 'bindingsRetrievable', f.bindings_retrievable)) END)`
const ITS_PARTS = Prisma.sql`JOIN spaces s ON s.guid = i.space_guid JOIN organizations o ON o.guid = s.organization_guid
  LEFT JOIN service_plans p ON p.guid = i.plan_guid LEFT JOIN service_offerings f ON f.guid = p.offering_guid`

export async function findOperatedInstance(on: Reader, guid: string): Promise<OperatedInstance | undefined> {
  const [found] = await on.$queryRaw<{ instance: OperatedInstance }[]>`
    SELECT ${INSTANCE} AS instance FROM service_instances i ${ITS_PARTS} WHERE i.guid = ${guid}`
  return found?.instance
}

export async function findOperatedBinding(on: Reader, guid: string): Promise<OperatedBinding | undefined> {
  const [found] = await on.$queryRaw<OperatedBinding[]>`
    SELECT b.guid, ${INSTANCE} AS "serviceInstance",
      CASE WHEN a.guid IS NOT NULL
        THEN jsonb_build_object('guid', a.guid, 'spaceGuid', a.space_guid, 'annotations', a.annotations) END AS app
    FROM credential_bindings b JOIN service_instances i ON i.guid = b.service_instance_guid ${ITS_PARTS}
    LEFT JOIN apps a ON a.guid = b.app_guid WHERE b.guid = ${guid}`
  return found
}

/** What an audit event needs to know of an instance. */
export type ToldInstance = Pick<ServiceInstance, 'guid' | 'name' | 'type' | 'spaceGuid'> & {
  readonly space: { readonly organizationGuid: string }
}
/** The same of a key or an app's binding; its space is the app's, or the instance's for a key. */
export interface ToldBinding {
  readonly binding: Pick<CredentialBinding, 'guid' | 'name' | 'type' | 'appGuid' | 'serviceInstanceGuid'>
  readonly space: { readonly guid: string; readonly organizationGuid: string }
}

export async function findToldInstance(on: Reader, guid: string): Promise<ToldInstance | undefined> {
  const [found] = await on.$queryRaw<ToldInstance[]>`
    SELECT i.guid, i.name, i.type, i.space_guid AS "spaceGuid", jsonb_build_object('organizationGuid', s.organization_guid) AS space
    FROM service_instances i JOIN spaces s ON s.guid = i.space_guid WHERE i.guid = ${guid}`
  return found
}

export async function findToldBinding(on: Reader, guid: string): Promise<ToldBinding | undefined> {
  const [found] = await on.$queryRaw<ToldBinding[]>`
    SELECT jsonb_build_object('guid', b.guid, 'name', b.name, 'type', b.type, 'appGuid', b.app_guid,
        'serviceInstanceGuid', b.service_instance_guid) AS binding,
      jsonb_build_object('guid', s.guid, 'organizationGuid', s.organization_guid) AS space
    FROM credential_bindings b JOIN service_instances i ON i.guid = b.service_instance_guid LEFT JOIN apps a ON a.guid = b.app_guid
    JOIN spaces s ON s.guid = COALESCE(a.space_guid, i.space_guid) WHERE b.guid = ${guid}`
  return found
}
