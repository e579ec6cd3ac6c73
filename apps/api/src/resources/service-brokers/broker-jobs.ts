import { CfError } from '@bloomery/contracts'
import { isUniqueViolation, type ServiceBroker, type Transaction } from '@bloomery/database'
import { z } from 'zod'
import type { Context } from '../../http/context.js'
import { unprocessable } from '../../http/errors.js'
import { applyMetadata, MetadataInput } from '../../http/metadata.js'
import { brokerPasswordContext } from '../../service-operations/brokers.js'
import { recordBrokerEvent } from './broker-events.js'
import { removeDashboardClients } from './dashboard-clients.js'
import { applyCatalog, fetchCatalog } from './synchronize-catalog.js'

const ByGuid = z.object({ guid: z.string() })
const UpdateParams = z.object({
  guid: z.string(),
  previousState: z.string(),
  name: z.string().optional(),
  url: z.string().optional(),
  credentials: z.object({ username: z.string(), password: z.string() }).optional(),
  metadata: MetadataInput.optional(),
})
export type UpdateParams = z.infer<typeof UpdateParams>

/** A catalog of hundreds of plans is many statements. */
const CATALOG_TRANSACTION = { timeout: 120_000, maxWait: 30_000 }

export const SYNCHRONIZE_BROKER = 'service_broker.catalog.synchronize'
export const UPDATE_BROKER = 'service_broker.update'
export const DELETE_BROKER = 'service_broker.delete'

/** The long work on brokers: each may be run again after a death at any line. */
export function registerBrokerJobs(context: Context): void {
  const { db, jobs } = context

  jobs.register(SYNCHRONIZE_BROKER, ByGuid, async (job) => {
    const { guid } = job.params
    const broker = await find(guid)
    try {
      const catalog = await fetchCatalog(context, context.brokers.accessOf(broker))
      const warnings = await db.$transaction(async (tx) => {
        const found = await applyCatalog(tx, broker, catalog)
        await setState(tx, guid, 'AVAILABLE')
        return found
      }, CATALOG_TRANSACTION)
      warnings.forEach((warning) => job.warn(warning))
    } catch (error) {
      await setState(db, guid, 'SYNCHRONIZATION_FAILED')
      throw error
    }
  })

  jobs.register(UPDATE_BROKER, UpdateParams, async (job) => {
    const { guid, name, url, credentials, previousState } = job.params
    const present = await find(guid)
    await setState(db, guid, 'SYNCHRONIZING')
    try {
      const changed: ServiceBroker = {
        ...present,
        name: name ?? present.name,
        url: url ?? present.url,
        ...(credentials
          ? {
              username: credentials.username,
              passwordEncrypted: { ...context.keyring.encrypt(credentials.password, brokerPasswordContext(guid)) },
            }
          : {}),
      }
      // A new name alone needs no look at the catalog.
      const catalog =
        url === undefined && credentials === undefined
          ? undefined
          : await fetchCatalog(context, context.brokers.accessOf(changed))
      const warnings = await db.$transaction(async (tx) => {
        const found = catalog ? await applyCatalog(tx, changed, catalog) : []
        await tx.serviceBroker.update({
          where: { guid },
          data: {
            name: changed.name,
            url: changed.url,
            username: changed.username,
            passwordEncrypted: changed.passwordEncrypted as object,
            state: 'AVAILABLE',
            ...applyMetadata(present, job.params.metadata),
          },
        })
        return found
      }, CATALOG_TRANSACTION)
      warnings.forEach((warning) => job.warn(warning))
    } catch (error) {
      await setState(db, guid, previousState)
      throw isUniqueViolation(error) ? unprocessable('Name must be unique') : error
    }
  })

  jobs.register(DELETE_BROKER, ByGuid, async (job) => {
    const { guid } = job.params
    await db
      .$transaction(async (tx) => {
        const broker = await tx.serviceBroker.findUnique({ where: { guid } })
        if (!broker) return
        await requireNoInstances(tx, broker)
        await removeDashboardClients(tx, broker)
        // What it may still hold can be asked of nobody.
        await tx.orphanMitigation.deleteMany({ where: { brokerGuid: guid } })
        await tx.serviceBroker.delete({ where: { guid } })
        await recordBrokerEvent(tx, job.actor, broker, 'delete')
      })
      .catch(async (error: unknown) => {
        await setState(db, guid, 'DELETE_FAILED')
        throw error
      })
  })

  async function find(guid: string): Promise<ServiceBroker> {
    const broker = await db.serviceBroker.findUnique({ where: { guid } })
    if (!broker) throw new CfError('ServiceBrokerGone', 'The service broker was removed before the synchronization completed')
    return broker
  }
}

async function setState(on: Pick<Transaction, 'serviceBroker'>, guid: string, state: string): Promise<void> {
  await on.serviceBroker.updateMany({ where: { guid }, data: { state } })
}

/** Refuses to remove a broker that somebody has something of. */
export async function requireNoInstances(on: Pick<Transaction, 'serviceInstance'>, broker: ServiceBroker): Promise<void> {
  const count = await on.serviceInstance.count({ where: { plan: { offering: { brokerGuid: broker.guid } } } })
  if (count > 0)
    throw new CfError(
      'ServiceBrokerNotRemovable',
      `Can not remove brokers that have associated service instances: ${broker.name}`,
    )
}
