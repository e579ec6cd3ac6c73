import type { Transaction } from '@bloomery/database'
import type { CfError } from '@bloomery/contracts'
import type {
  BindingAnswer,
  BindRequest,
  DeleteAnswer,
  Failure,
  FetchedBinding,
  FetchedInstance,
  InstanceAnswer,
  ProvisionRequest,
  UpdateRequest,
} from '@bloomery/osb'
import type { z } from 'zod'
import type { JobActor } from '../jobs/jobs.js'

export type OperatedResource = 'instance' | 'credential_binding' | 'route_binding'
export type OperationType = 'create' | 'update' | 'delete'

/** One row of work under way, as its handler sees it. */
export interface Operation<Params> {
  readonly guid: string
  readonly resourceType: OperatedResource
  readonly resourceGuid: string
  readonly serviceInstanceGuid: string
  readonly type: OperationType
  readonly params: Params
  readonly actor: JobActor
  readonly createdAt: Date
  /** Whether the broker may have seen the request already: this process or an earlier one died over it. */
  readonly sentBefore: boolean
}

/** The broker, the offering and the plan that a request is about; orphan mitigation needs the same. */
export interface BrokerTarget {
  readonly brokerGuid: string
  readonly instanceGuid: string
  /** Of bind and unbind. */
  readonly bindingGuid?: string
  /** Ids of the broker's catalog; of an update the plan before it. */
  readonly serviceId: string
  readonly planId: string
  readonly maximumPollingSeconds?: number | undefined
}
type BrokerRequest =
  | { readonly operation: 'provision'; readonly body: ProvisionRequest }
  | { readonly operation: 'update'; readonly body: UpdateRequest }
  | { readonly operation: 'deprovision' }
  | { readonly operation: 'bind'; readonly body: BindRequest }
  | { readonly operation: 'unbind' }

/** What is to be done now. */
export type Step =
  /** `fetch`: once an asynchronous create or bind is done, ask the broker for what it made. A binding is nothing without it. */
  | {
      readonly kind: 'ask'
      readonly target: BrokerTarget
      readonly request: BrokerRequest
      readonly fetch: boolean
      /** What users are told where the broker refuses. @default the words of the failure */
      readonly describeFailure?: (failure: Failure) => string
    }
  /** Others come first (the bindings of an instance that is to go); look again. */
  | { readonly kind: 'wait'; readonly afterMs: number }
  /** Nothing is left to do, or no broker knows of it. */
  | { readonly kind: 'done' }
  | { readonly kind: 'refuse'; readonly error: CfError }

/** All that a broker can have answered; which part is there follows from the request. */
export type BrokerAnswer = Partial<InstanceAnswer & DeleteAnswer & BindingAnswer & FetchedInstance & FetchedBinding> & {
  /** What the last poll said. */
  readonly description?: string
}

export interface OperationFailure {
  readonly error: CfError
  /** For `last_operation.description`. */
  readonly description: string
  /** Whether the instance serves still, as the broker says of a failed update or delete. @default true */
  readonly instanceUsable?: boolean | undefined
  /** Whether the same update may succeed another time, as the broker says. @default true */
  readonly updateRepeatable?: boolean | undefined
}

/**
 * What is particular to one kind of work (`instance.create`, `credential_binding.delete`, …). The worker does the rest: claims,
 * requests, polls, deadlines, orphan mitigation, jobs. The four writers run in the transaction that also moves or ends the operation
 * and settles its job, under the worker's fencing token: each takes effect once, or not at all.
 */
export interface OperationHandler<Params> {
  readonly params: z.ZodType<Params>
  /** Reads what is there now and says what to do. Called again after a death, and at each poll: it may change nothing but what can be done twice. */
  plan(operation: Operation<Params>): Promise<Step>
  /** A fault in a successful answer (drains of an offering that may not have any): the operation fails, and what was made is mitigated. */
  inspect?(operation: Operation<Params>, answer: BrokerAnswer): Promise<CfError | undefined>
  /** The broker has taken it up, and is to be polled. */
  started(tx: Transaction, operation: Operation<Params>, answer: BrokerAnswer): Promise<void>
  /** A poll brought another description. */
  progressed(tx: Transaction, operation: Operation<Params>, description: string): Promise<void>
  /** It is done. `answer` is empty where there was nothing to ask. */
  completed(tx: Transaction, operation: Operation<Params>, answer: BrokerAnswer): Promise<void>
  failed(tx: Transaction, operation: Operation<Params>, failure: OperationFailure): Promise<void>
}

/** How `last_operation` stands on the wire. */
export interface LastOperation {
  readonly type: OperationType
  readonly state: 'initial' | 'in progress' | 'succeeded' | 'failed'
  readonly description: string
  readonly created_at: string
  readonly updated_at: string
}

/** Work to be taken up: `enqueue` writes it in the transaction of the wish it stands for. */
export interface NewOperation {
  readonly resourceType: OperatedResource
  readonly resourceGuid: string
  readonly serviceInstanceGuid: string
  readonly type: OperationType
  /** Whose turn it takes; null where no broker is asked. */
  readonly brokerGuid: string | null
  readonly params: unknown
  readonly actor: JobActor
  /** The job that the client follows; none for what is part of other work. */
  readonly job?: { readonly operation: string; readonly resourceType: string }
}
