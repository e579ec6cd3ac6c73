import type { BrokerClient, CallOptions, Failure, Outcome, PollOutcome } from '@bloomery/osb'
import type { BrokerAnswer, BrokerTarget, Step } from './operation.js'

/** A step that asks a broker, with what it is asked by. */
export interface Question {
  readonly client: BrokerClient
  readonly step: Extract<Step, { kind: 'ask' }>
  readonly call: CallOptions
}

/** Sends the request of a step. */
export function askBroker({ client, step: { target, request }, call }: Question): Promise<Outcome<BrokerAnswer>> {
  switch (request.operation) {
    case 'provision':
      return client.provision(target.instanceGuid, request.body, call)
    case 'update':
      return client.update(target.instanceGuid, request.body, call)
    case 'deprovision':
      return client.deprovision(target.instanceGuid, target, call)
    case 'bind':
      return client.bind(target.instanceGuid, bindingOf(target), request.body, call)
    case 'unbind':
      return client.unbind(target.instanceGuid, bindingOf(target), target, call)
  }
}

export const pollBroker = ({ client, step: { target }, call }: Question, operation: string | undefined): Promise<PollOutcome> =>
  client.lastOperation(target, target, operation, call)

/** What an asynchronous request has made. */
export const fetchMade = ({
  client,
  step: { target },
  call,
}: Question): Promise<{ kind: 'done'; answer: BrokerAnswer } | Failure> =>
  target.bindingGuid === undefined
    ? client.fetchInstance(target.instanceGuid, target, call)
    : client.fetchBinding(target.instanceGuid, target.bindingGuid, target, call)

function bindingOf({ bindingGuid, instanceGuid }: BrokerTarget): string {
  if (bindingGuid === undefined) throw new Error(`A binding of ${instanceGuid} is to be asked for, but none is named.`)
  return bindingGuid
}
