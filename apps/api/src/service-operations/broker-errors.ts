import { CfError } from '@bloomery/contracts'
import type { Failure } from '@bloomery/osb'

/** What the client is told of a request that a broker did not fulfil, outside of jobs. */
export function brokerError(failure: Failure): CfError {
  switch (failure.reason) {
    case 'unauthorized':
      return new CfError('ServiceBrokerApiAuthenticationFailed', failure.message)
    case 'concurrency':
      return new CfError('ServiceBrokerConcurrencyError', failure.message)
    case 'async-required':
      return new CfError('ServiceBrokerAsyncRequired', failure.message)
    case 'maintenance-info-conflict':
      return new CfError('MaintenanceInfoConflict', failure.message)
    case 'rejected':
    case 'requires-app':
      return new CfError('ServiceBrokerRequestRejected', failure.message)
    case 'malformed':
      return new CfError('ServiceBrokerRequestMalformed', failure.message)
    case 'timeout':
      return new CfError('ServiceBrokerApiTimeout', failure.message)
    case 'unreachable':
    case 'forbidden-address':
      return new CfError('ServiceBrokerApiUnreachable', failure.message)
    case 'conflict':
    case 'gone':
    case 'bad-response':
    case 'too-large':
    case 'redirect':
      return new CfError('ServiceBrokerBadResponse', failure.message)
  }
}

const VERBS = { provision: 'provision', update: 'update', deprovision: 'delete', bind: 'bind', unbind: 'unbind' } as const

/** How a job tells that a broker did not do its part. */
export const unableTo = (request: keyof typeof VERBS, description: string): CfError =>
  new CfError('UnableToPerform', `${VERBS[request]} could not be completed: ${description}`)
