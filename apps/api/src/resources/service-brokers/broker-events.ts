import type { Prisma, ServiceBroker, Transaction } from '@bloomery/database'
import { recordAudit, type AuditActor } from '../../http/audit.js'

/** An audit event about a broker, in the transaction of the change it tells of; never with its password. */
export const recordBrokerEvent = (
  tx: Transaction,
  actor: AuditActor,
  broker: Pick<ServiceBroker, 'guid' | 'name' | 'spaceGuid'>,
  act: 'create' | 'update' | 'delete',
  request: Prisma.InputJsonObject = {},
): Promise<void> =>
  recordAudit(tx, actor, {
    type: `audit.service_broker.${act}`,
    target: { type: 'service_broker', guid: broker.guid, name: broker.name },
    spaceGuid: broker.spaceGuid,
    data: { request },
  })

/** What an event tells of a request. */
export const requestOf = (input: {
  name?: string | undefined
  url?: string | undefined
  authentication?: { credentials: { username: string } } | undefined
}): Prisma.InputJsonObject => ({
  ...(input.name === undefined ? {} : { name: input.name }),
  ...(input.url === undefined ? {} : { url: input.url }),
  ...(input.authentication
    ? {
        authentication: {
          type: 'basic',
          credentials: { username: input.authentication.credentials.username, password: '[PRIVATE DATA HIDDEN]' },
        },
      }
    : {}),
})
