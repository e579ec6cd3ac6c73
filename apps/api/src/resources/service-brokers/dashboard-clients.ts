import { CfError } from '@bloomery/contracts'
import type { ServiceBroker, Transaction } from '@bloomery/database'
import type { CatalogService, DashboardClient } from '@bloomery/osb'
import { recordAudit } from '../../http/audit.js'
import { BROKER_MARK } from '../../oauth/broker-clients.js'
import { hashPassword } from '../../oauth/passwords.js'

/** What a dashboard's client may ask for: who the user is, and the user's rights on an instance. */
const SCOPES = ['openid', 'cloud_controller_service_permissions.read']
const ACCESS_TOKEN_SECONDS = 600

/** Makes, changes and removes the OAuth clients of a broker's dashboards with its catalog. */
export async function synchronizeDashboardClients(
  tx: Transaction,
  broker: ServiceBroker,
  services: readonly CatalogService[],
): Promise<void> {
  const wanted = services.flatMap(({ dashboard_client: client }) => client ?? [])
  const owned = await clientsOf(tx, broker.guid)
  const taken = await tx.oauthClient.findMany({
    where: { clientId: { in: wanted.map(({ id }) => id).filter((id) => !owned.has(id)) } },
  })
  if (taken.length > 0)
    throw new CfError(
      'ServiceBrokerCatalogInvalid',
      `Service broker catalog is invalid: \n${taken.map(({ clientId }) => `Service dashboard client id must be unique: '${clientId}' is in use`).join('\n')}\n`,
    )
  for (const client of wanted) await save(tx, broker, client, owned.has(client.id))
  const left = [...owned].filter((id) => !wanted.some((client) => client.id === id))
  await removeClients(tx, broker, left)
}

/** Removes all clients of a broker that goes. */
export async function removeDashboardClients(tx: Transaction, broker: ServiceBroker): Promise<void> {
  await removeClients(tx, broker, [...(await clientsOf(tx, broker.guid))])
}

const ownerMark = (brokerGuid: string): string => `${BROKER_MARK}${brokerGuid}`

async function clientsOf(tx: Transaction, brokerGuid: string): Promise<Set<string>> {
  const clients = await tx.oauthClient.findMany({ where: { grantTypes: { has: ownerMark(brokerGuid) } } })
  return new Set(clients.map(({ clientId }) => clientId))
}

async function save(tx: Transaction, broker: ServiceBroker, client: DashboardClient, isThere: boolean): Promise<void> {
  const data = {
    secretHash: await hashPassword(client.secret),
    grantTypes: ['authorization_code', ownerMark(broker.guid)],
    scopes: SCOPES,
    accessTokenSeconds: ACCESS_TOKEN_SECONDS,
    redirectUris: [client.redirect_uri],
  }
  await tx.oauthClient.upsert({ where: { clientId: client.id }, create: { clientId: client.id, ...data }, update: data })
  if (!isThere) await record(tx, broker, client.id, 'create')
}

async function removeClients(tx: Transaction, broker: ServiceBroker, ids: readonly string[]): Promise<void> {
  await tx.oauthClient.deleteMany({ where: { clientId: { in: [...ids] } } })
  for (const id of ids) await record(tx, broker, id, 'delete')
}

const record = (tx: Transaction, broker: ServiceBroker, clientId: string, act: 'create' | 'delete'): Promise<void> =>
  recordAudit(
    tx,
    { guid: broker.guid, name: broker.name, kind: 'service_broker' },
    {
      type: `audit.service_dashboard_client.${act}`,
      target: { type: 'service_dashboard_client', guid: clientId, name: clientId },
      spaceGuid: broker.spaceGuid,
    },
  )
