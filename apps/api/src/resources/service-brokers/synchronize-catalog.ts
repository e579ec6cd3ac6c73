import { randomUUID } from 'node:crypto'
import { CfError } from '@bloomery/contracts'
import { Prisma, type ServiceBroker, type Transaction } from '@bloomery/database'
import {
  catalogConflicts,
  deactivationWarning,
  initialVisibility,
  planCatalogChanges,
  type CatalogChanges,
  type KnownOffering,
} from '@bloomery/domain'
import { validateCatalog, type Catalog, type CatalogPlan, type CatalogService } from '@bloomery/osb'
import { recordAudit } from '../../http/audit.js'
import type { Context } from '../../http/context.js'
import { brokerError } from '../../service-operations/broker-errors.js'
import type { BrokerAccess } from '../../service-operations/brokers.js'
import { synchronizeDashboardClients } from './dashboard-clients.js'

/** Fetches a catalog and judges it by itself; nothing is changed. */
export async function fetchCatalog({ brokers }: Pick<Context, 'brokers'>, access: BrokerAccess): Promise<Catalog> {
  // A resynchronisation is the platform's own: no user is named.
  const fetched = await brokers.client(access).catalog()
  if (fetched.kind === 'failed') throw brokerError(fetched)
  const verdict = validateCatalog(fetched.answer)
  if (!verdict.ok) throw invalid(verdict.problems)
  return verdict.catalog
}
const invalid = (problems: string): CfError =>
  new CfError('ServiceBrokerCatalogInvalid', `Service broker catalog is invalid: ${problems}`)

/** Makes the kept catalog equal to the broker's, all of it or nothing; answers what the operator should know. */
export async function applyCatalog(tx: Transaction, broker: ServiceBroker, catalog: Catalog): Promise<string[]> {
  await tx.$executeRaw`SELECT 1 FROM service_brokers WHERE guid = ${broker.guid} FOR UPDATE`
  const known = await readKnown(tx, broker.guid)
  const conflicts = catalogConflicts(known, catalog.services)
  if (conflicts.length > 0) throw invalid(`\n${conflicts.join('\n')}\n`)
  const changes = planCatalogChanges(known, catalog.services)
  await remove(tx, broker, changes)
  for (const [i, service] of catalog.services.entries()) await saveOffering(tx, broker, service, changes.offerings[i])
  await synchronizeDashboardClients(tx, broker, catalog.services)
  const warning = deactivationWarning(`${broker.url.replace(/\/+$/, '')}/v2/catalog`, changes.deactivated)
  return [...(warning === undefined ? [] : [warning]), ...volumeWarnings(catalog)]
}

const volumeWarnings = ({ services }: Catalog): string[] =>
  services
    .filter(({ requires }) => requires?.includes('volume_mount'))
    .map(
      ({ name }) =>
        `Service ${name} is declared to be a volume mount service but support for volume mount services is disabled. Users will be prevented from binding instances of this service to apps.`,
    )

async function readKnown(tx: Transaction, brokerGuid: string): Promise<KnownOffering[]> {
  const offerings = await tx.serviceOffering.findMany({
    where: { brokerGuid },
    include: { plans: { include: { _count: { select: { instances: true } } } } },
  })
  return offerings.map(({ guid, catalogId, name, plans }) => ({
    guid,
    catalogId,
    name,
    plans: plans.map((plan) => ({
      guid: plan.guid,
      catalogId: plan.catalogId,
      name: plan.name,
      hasInstances: plan._count.instances > 0,
    })),
  }))
}

async function remove(tx: Transaction, broker: ServiceBroker, changes: CatalogChanges): Promise<void> {
  const plans = await tx.servicePlan.findMany({ where: { guid: { in: [...changes.deletedPlans] } } })
  for (const plan of plans) await recordCatalogEvent(tx, broker, 'service_plan', plan, 'delete')
  await tx.servicePlan.deleteMany({ where: { guid: { in: plans.map(({ guid }) => guid) } } })
  const offerings = await tx.serviceOffering.findMany({ where: { guid: { in: [...changes.deletedOfferings] } } })
  for (const offering of offerings) await recordCatalogEvent(tx, broker, 'service', offering, 'delete')
  await tx.serviceOffering.deleteMany({ where: { guid: { in: offerings.map(({ guid }) => guid) } } })
  await tx.servicePlan.updateMany({ where: { guid: { in: [...changes.deactivatedPlans] } }, data: { active: false } })
  await tx.serviceOffering.updateMany({
    where: { guid: { in: [...changes.deactivatedOfferings] } },
    data: { available: false },
  })
}

async function saveOffering(
  tx: Transaction,
  broker: ServiceBroker,
  service: CatalogService,
  change: CatalogChanges['offerings'][number] | undefined,
): Promise<void> {
  const data = {
    name: service.name,
    description: service.description,
    available: true,
    bindable: service.bindable,
    planUpdateable: service.plan_updateable ?? false,
    instancesRetrievable: service.instances_retrievable ?? false,
    bindingsRetrievable: service.bindings_retrievable ?? false,
    allowContextUpdates: service.allow_context_updates ?? false,
    tags: service.tags ?? [],
    requires: service.requires ?? [],
    catalogMetadata: (service.metadata ?? {}) as Prisma.InputJsonObject,
    dashboardClient: service.dashboard_client
      ? { id: service.dashboard_client.id, redirect_uri: service.dashboard_client.redirect_uri }
      : Prisma.DbNull,
  }
  const guid = change?.guid ?? randomUUID()
  if (change?.guid === undefined) {
    await tx.serviceOffering.create({ data: { guid, brokerGuid: broker.guid, catalogId: service.id, ...data } })
    await recordCatalogEvent(tx, broker, 'service', { guid, name: service.name }, 'create')
  } else await tx.serviceOffering.update({ where: { guid }, data })
  for (const [i, plan] of service.plans.entries()) await savePlan(tx, broker, guid, plan, change?.plans[i]?.guid)
}

async function savePlan(
  tx: Transaction,
  broker: ServiceBroker,
  offeringGuid: string,
  plan: CatalogPlan,
  present: string | undefined,
): Promise<void> {
  const data = {
    name: plan.name,
    description: plan.description,
    free: plan.free ?? true,
    active: true,
    bindable: plan.bindable ?? null,
    planUpdateable: plan.plan_updateable ?? null,
    catalogMetadata: (plan.metadata ?? {}) as Prisma.InputJsonObject,
    schemas: (plan.schemas ?? {}) as Prisma.InputJsonObject,
    maximumPollingDuration: plan.maximum_polling_duration ?? null,
    maintenanceInfo: plan.maintenance_info ? ({ ...plan.maintenance_info } as Prisma.InputJsonObject) : Prisma.DbNull,
    bindingRotatable: plan.binding_rotatable ?? false,
  }
  if (present !== undefined) {
    await tx.servicePlan.update({ where: { guid: present }, data })
    return
  }
  const guid = randomUUID()
  await tx.servicePlan.create({
    data: { guid, offeringGuid, catalogId: plan.id, visibilityType: initialVisibility(broker.spaceGuid), ...data },
  })
  await recordCatalogEvent(tx, broker, 'service_plan', { guid, name: plan.name }, 'create')
}

/** Catalogs are the broker's doing. */
const recordCatalogEvent = (
  tx: Transaction,
  broker: ServiceBroker,
  type: 'service' | 'service_plan',
  target: { readonly guid: string; readonly name: string },
  act: 'create' | 'delete',
): Promise<void> =>
  recordAudit(
    tx,
    { guid: broker.guid, name: broker.name, kind: 'service_broker' },
    { type: `audit.${type}.${act}`, target: { type, guid: target.guid, name: target.name }, spaceGuid: broker.spaceGuid },
  )
