import { randomUUID } from 'node:crypto'
import type { CredentialBinding, Transaction } from '@bloomery/database'
import type { Context } from '../../http/context.js'
import { unprocessable } from '../../http/errors.js'
import { applyMetadata, type MetadataInput } from '../../http/metadata.js'
import type { JobActor } from '../../jobs/jobs.js'
import {
  type BoundInstance,
  isCreating,
  isFailedCreate,
  isLeaving,
  isManaged,
  lockBoundInstance,
  type ManagedInstance,
  requireBindable,
  spacesOf,
} from '../../service-bindings/bound-instance.js'
import { lastOperation } from '../../service-bindings/last-operation.js'
import { type AppInSpace, lockApp } from '../apps/find-app.js'
import { recordBindingEvent } from './binding-events.js'
import { requireKeyQuota } from './key-quota.js'

export interface NewBinding {
  readonly serviceInstanceGuid: string
  readonly name?: string | null | undefined
  readonly parameters?: Readonly<Record<string, unknown>> | null | undefined
  readonly metadata?: MetadataInput | undefined
}
export interface NewAppBinding extends NewBinding {
  readonly appGuid: string
  /** `multiple` allows further bindings of the same app to the same instance; the newest counts. */
  readonly strategy?: 'single' | 'multiple' | undefined
  /** Asked for by a manifest; the audit event tells. */
  readonly byManifest?: true
}
/** Without a job it is done; else a broker is asked, once the transaction has committed and `operations.kick()` was called. */
export interface MadeBinding {
  readonly binding: CredentialBinding
  readonly jobGuid: string | undefined
}
type Parts = Pick<Context, 'operations'>

/** How many bindings one app may have to one instance, for the rotation of credentials. */
const MAX_BINDINGS_OF_PAIR = 20

/** Binds an app to an instance; manifests bind with it too. The app sees it from its next start on. */
export async function createAppBinding(
  tx: Transaction,
  { operations }: Parts,
  actor: JobActor,
  wanted: NewAppBinding,
): Promise<MadeBinding> {
  // In this order everywhere: two binds at once may not both find that there is none yet.
  const app = await lockApp(tx, wanted.appGuid)
  const instance = await lockBoundInstance(tx, wanted.serviceInstanceGuid)
  if (!spacesOf(instance).some(({ guid }) => guid === app.spaceGuid))
    throw unprocessable('The service instance and the app are in different spaces')
  const name = wanted.name ?? null
  if (isManaged(instance)) {
    refuseVolumes(instance)
    await requireBindable(tx, instance)
  } else if (wanted.parameters && Object.keys(wanted.parameters).length > 0)
    throw unprocessable('Binding parameters are not supported for user-provided service instances')
  await requireFreePlace(tx, app, instance, name, wanted.strategy)
  return make(tx, operations, actor, instance, { ...wanted, type: 'app', name, app })
}

/** A binding that tells of volumes which nobody mounts would have the app fail later, and for no reason to be seen. */
function refuseVolumes({ plan }: ManagedInstance): void {
  if (plan.offering.requires.includes('volume_mount'))
    throw unprocessable(
      `Support for volume mount services is disabled: this platform mounts no volumes into apps. '${plan.offering.name}' can be used through a service key only.`,
    )
}

/** Makes credentials for whoever asks, without an app. */
export async function createKey(
  tx: Transaction,
  { operations }: Parts,
  actor: JobActor,
  wanted: NewBinding & { readonly name: string },
): Promise<MadeBinding> {
  const instance = await lockBoundInstance(tx, wanted.serviceInstanceGuid)
  if (!isManaged(instance))
    throw unprocessable("Service credential bindings of type 'key' are not supported for user-provided service instances.")
  await requireBindable(tx, instance)
  const same = await tx.credentialBinding.findFirst({
    where: { type: 'key', serviceInstanceGuid: instance.guid, name: wanted.name },
  })
  if (same && !isFailedCreate(same.lastOperation))
    throw unprocessable(
      'The binding name is invalid. Key binding names must be unique. The service instance already has a key binding with ' +
        (isLeaving(same.lastOperation)
          ? `the name '${wanted.name}' that is getting deleted or its deletion failed.`
          : `name '${wanted.name}'.`),
    )
  if (same) await tx.credentialBinding.delete({ where: { guid: same.guid } })
  await requireKeyQuota(tx, instance.space)
  return make(tx, operations, actor, instance, { ...wanted, type: 'key', app: undefined })
}

/** One that could not be made stands in nobody's way: it goes, and what a broker may have of it is mitigated already. */
async function requireFreePlace(
  tx: Transaction,
  app: AppInSpace,
  instance: BoundInstance,
  name: string | null,
  strategy: NewAppBinding['strategy'],
): Promise<void> {
  const all = await tx.credentialBinding.findMany({ where: { appGuid: app.guid, type: 'app' } })
  const failed = all.filter(
    (each) => isFailedCreate(each.lastOperation) && (each.serviceInstanceGuid === instance.guid || each.name === name),
  )
  await tx.credentialBinding.deleteMany({ where: { guid: { in: failed.map(({ guid }) => guid) } } })
  const present = all.filter((each) => !failed.includes(each))
  const same = present.filter(({ serviceInstanceGuid }) => serviceInstanceGuid === instance.guid)
  const making = same.find((each) => isCreating(each.lastOperation))
  if (making)
    throw unprocessable(`There is already a binding in progress for this service instance and app (binding guid: ${making.guid})`)
  if (same.some((each) => isLeaving(each.lastOperation)))
    throw unprocessable('A binding for this service instance and app is getting deleted or its deletion failed')
  if (same.length > 0 && strategy !== 'multiple') throw unprocessable('The app is already bound to the service instance')
  if (same.length >= MAX_BINDINGS_OF_PAIR)
    throw unprocessable(
      `The app has too many bindings to this service instance (limit: ${MAX_BINDINGS_OF_PAIR}). Consider deleting existing/orphaned bindings.`,
    )
  // Bindings of one instance take turns under one name when credentials are rotated.
  if (name !== null && present.some((each) => each.name === name && each.serviceInstanceGuid !== instance.guid))
    throw unprocessable(
      `The binding name is invalid. Binding names must be unique for a given service instance and app. The app already has a binding with name '${name}'.`,
    )
  if (same.some((each) => each.name !== name))
    throw unprocessable('The binding name cannot be changed for the same app and service instance')
}

async function make(
  tx: Transaction,
  operations: Parts['operations'],
  actor: JobActor,
  instance: BoundInstance,
  wanted: NewBinding & {
    readonly type: 'app' | 'key'
    readonly name: string | null
    readonly app: AppInSpace | undefined
    readonly byManifest?: true
  },
): Promise<MadeBinding> {
  const now = new Date()
  const isAsked = isManaged(instance)
  const binding = await tx.credentialBinding.create({
    data: {
      guid: randomUUID(),
      type: wanted.type,
      name: wanted.name,
      serviceInstanceGuid: instance.guid,
      appGuid: wanted.app?.guid ?? null,
      syslogDrainUrl: null,
      lastOperation: isAsked
        ? lastOperation('create', 'initial', '', now)
        : lastOperation('create', 'succeeded', 'Operation succeeded', now),
      ...applyMetadata(undefined, wanted.metadata),
    },
  })
  if (!isAsked) {
    await recordBindingEvent(tx, actor, binding, wanted.app?.space ?? instance.space, 'create', wanted.byManifest)
    return { binding, jobGuid: undefined }
  }
  const { jobGuid } = await operations.enqueue(tx, {
    resourceType: 'credential_binding',
    resourceGuid: binding.guid,
    serviceInstanceGuid: instance.guid,
    type: 'create',
    brokerGuid: instance.plan.offering.brokerGuid,
    params: { parameters: wanted.parameters ?? undefined, byManifest: wanted.byManifest },
    actor,
    // A manifest has a job of its own, which waits for its bindings.
    ...(wanted.byManifest ? {} : { job: { operation: 'service_bindings.create', resourceType: 'service_credential_bindings' } }),
  })
  return { binding, jobGuid }
}
