import type { Prisma, Transaction } from '@bloomery/database'
import type { BindRequest } from '@bloomery/osb'
import { z } from 'zod'
import type { Context } from '../../http/context.js'
import { bindingCredentialsContext } from '../../runs/environment-sources.js'
import { bindingTarget, isGift, isManaged, unexpectedGift } from '../../service-bindings/bound-instance.js'
import { lastOperation } from '../../service-bindings/last-operation.js'
import { bindingContext, sharedAnnotations } from '../../service-bindings/request-context.js'
import { findOperatedBinding, findToldBinding, type OperatedBinding } from '../../service-operations/operated.js'
import type { BrokerAnswer, Operation, OperationHandler } from '../../service-operations/operation.js'
import { recordBindingEvent } from './binding-events.js'

const BindParams = z.object({
  parameters: z.record(z.string(), z.unknown()).optional(),
  byManifest: z.literal(true).optional(),
})
type BindParams = z.infer<typeof BindParams>

/** Makes an app binding or a key at its broker. */
export function bindHandler({ db, keyring }: Pick<Context, 'db' | 'keyring'>): OperationHandler<BindParams> {
  const note = async (
    tx: Transaction,
    operation: Operation<BindParams>,
    data: Prisma.CredentialBindingUpdateManyMutationInput,
  ) => {
    await tx.credentialBinding.updateMany({ where: { guid: operation.resourceGuid }, data })
  }
  const tell = async (tx: Transaction, operation: Operation<BindParams>, act: 'start_create' | 'create') => {
    const told = await findToldBinding(tx, operation.resourceGuid)
    if (told) await recordBindingEvent(tx, operation.actor, told.binding, told.space, act, operation.params.byManifest)
  }
  return {
    params: BindParams,

    async plan({ resourceGuid, params }) {
      const binding = await findOperatedBinding(db, resourceGuid)
      if (!binding || !isManaged(binding.serviceInstance)) return { kind: 'done' }
      const target = bindingTarget(binding.serviceInstance, binding.guid)
      const body = bindRequest(binding, target, params.parameters)
      return {
        kind: 'ask',
        target,
        request: { operation: 'bind', body },
        fetch: binding.serviceInstance.plan.offering.bindingsRetrievable,
      }
    },

    async inspect({ resourceGuid }, answer) {
      if (!isGift(answer)) return undefined
      const binding = await findOperatedBinding(db, resourceGuid)
      return binding?.serviceInstance.plan ? unexpectedGift(binding.serviceInstance.plan.offering, answer) : undefined
    },

    async started(tx, operation) {
      await note(tx, operation, { lastOperation: lastOperation('create', 'in progress', '', operation.createdAt) })
      await tell(tx, operation, 'start_create')
    },

    progressed: (tx, operation, description) =>
      note(tx, operation, { lastOperation: lastOperation('create', 'in progress', description, operation.createdAt) }),

    async completed(tx, operation, answer) {
      const { resourceGuid: guid } = operation
      await note(tx, operation, {
        ...granted(answer),
        credentialsEncrypted: { ...keyring.encryptJson(answer.credentials ?? {}, bindingCredentialsContext(guid)) },
        lastOperation: lastOperation('create', 'succeeded', '', operation.createdAt),
      })
      await tell(tx, operation, 'create')
    },

    failed: (tx, operation, { description }) =>
      note(tx, operation, { lastOperation: lastOperation('create', 'failed', description, operation.createdAt) }),
  }
}

function bindRequest(
  { app, serviceInstance }: OperatedBinding,
  { serviceId, planId }: { readonly serviceId: string; readonly planId: string },
  parameters: Readonly<Record<string, unknown>> | undefined,
): BindRequest {
  return {
    service_id: serviceId,
    plan_id: planId,
    ...(app
      ? {
          app_guid: app.guid,
          bind_resource: { app_guid: app.guid, space_guid: app.spaceGuid, app_annotations: sharedAnnotations(app.annotations) },
        }
      : { bind_resource: {} }),
    context: bindingContext(serviceInstance.space),
    ...(parameters && Object.keys(parameters).length > 0 ? { parameters: { ...parameters } } : {}),
  }
}

/** What is not secret of a binding; of volumes only what an app may see of them. */
function granted(answer: BrokerAnswer) {
  const { expires_at, renew_before } = (answer.metadata ?? {}) as { expires_at?: string; renew_before?: string }
  return {
    syslogDrainUrl: answer.syslog_drain_url ?? null,
    volumeMounts: (answer.volume_mounts ?? []).map(({ container_dir, mode, device_type }) => ({
      container_dir,
      mode,
      device_type,
    })),
    brokerMetadata: {
      ...(expires_at === undefined ? {} : { expires_at }),
      ...(renew_before === undefined ? {} : { renew_before }),
    },
  }
}
