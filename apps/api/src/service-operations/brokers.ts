import { CfError } from '@bloomery/contracts'
import type { Database, ServiceBroker } from '@bloomery/database'
import type { TenantAddressPolicy } from '@bloomery/domain'
import { guardedConnector } from '@bloomery/egress'
import { BrokerClient, openBrokerConnections, type BrokerExchange } from '@bloomery/osb'
import type { SharedSlots } from '@bloomery/queues'
import type { Keyring } from '@bloomery/secrets'
import { CallsPerUser } from './calls-per-user.js'

/** Where a broker's password is bound to in the keyring. */
export const brokerPasswordContext = (guid: string): string => `service-broker:${guid}`

export interface BrokersOptions {
  readonly db: Pick<Database, 'serviceBroker'>
  readonly keyring: Keyring
  readonly timeoutMs: number
  /** Answers that one user may wait for at once; 0: no limit. */
  readonly callsPerUser: number
  /** Where they are counted. */
  readonly slots: SharedSlots
  /** host:port of the platform's API. */
  readonly apiInfoLocation: string
  readonly tenantAddresses: TenantAddressPolicy
  readonly onExchange?: (broker: string, exchange: BrokerExchange) => void
}
export interface BrokerAccess {
  readonly name: string
  readonly url: string
  readonly username: string
  readonly password: string
  /** A broker of a space may not lead into the platform's own networks; an operator's broker may be anywhere. */
  readonly isSpaceScoped: boolean
}

/** Clients of the registered brokers. */
export class Brokers {
  /** To be gone through by requests that are held open until a broker has answered. */
  readonly calls: CallsPerUser
  readonly #anywhere = openBrokerConnections()
  readonly #guarded
  constructor(private readonly options: BrokersOptions) {
    this.calls = new CallsPerUser({ max: options.callsPerUser, timeoutMs: options.timeoutMs, slots: options.slots })
    this.#guarded = openBrokerConnections({ connector: guardedConnector(options.tenantAddresses, {}, options.timeoutMs) })
  }

  /** A client with the credentials that the broker has now. */
  async of(guid: string): Promise<BrokerClient> {
    const broker = await this.options.db.serviceBroker.findUnique({ where: { guid } })
    if (!broker) throw new CfError('ServiceBrokerGone', `The service broker of this service is no longer registered: ${guid}`)
    return this.client(this.accessOf(broker))
  }

  accessOf(broker: ServiceBroker): BrokerAccess {
    return {
      name: broker.name,
      url: broker.url,
      username: broker.username,
      password: this.options.keyring.decrypt(broker.passwordEncrypted, brokerPasswordContext(broker.guid)),
      isSpaceScoped: broker.spaceGuid !== null,
    }
  }

  client(access: BrokerAccess): BrokerClient {
    const { timeoutMs, apiInfoLocation, onExchange } = this.options
    return new BrokerClient(access, {
      connections: access.isSpaceScoped ? this.#guarded : this.#anywhere,
      timeoutMs,
      apiInfoLocation,
      ...(onExchange ? { onExchange: (exchange) => onExchange(access.name, exchange) } : {}),
    })
  }

  async close(): Promise<void> {
    await Promise.all([this.#anywhere.close(), this.#guarded.close()])
  }
}
