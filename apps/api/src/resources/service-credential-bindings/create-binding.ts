import { randomUUID } from 'node:crypto'
import type { CredentialBinding, Transaction } from '@bloomery/database'
import { unprocessable } from '../../http/errors.js'
import { applyMetadata, type MetadataInput } from '../../http/metadata.js'
import type { JobActor } from '../../jobs/jobs.js'
import { lockApp } from '../apps/find-app.js'
import { lockServiceInstance } from '../service-instances/find-service-instance.js'
import { succeeded } from '../service-instances/presenter.js'
import { recordBindingEvent } from './binding-events.js'

export interface NewAppBinding {
  readonly appGuid: string
  readonly serviceInstanceGuid: string
  readonly name?: string | null | undefined
  /** `multiple` allows further bindings of the same app to the same instance; the newest counts. */
  readonly strategy?: 'single' | 'multiple' | undefined
  readonly metadata?: MetadataInput | undefined
  /** Asked for by a manifest; the audit event tells. */
  readonly byManifest?: true
}

/**
 * Binds an app to a user-provided instance; manifests bind with it too. The app sees it from its next start on. Credentials stay with
 * the instance, so that changing them there reaches every bound app.
 */
export async function createAppBinding(tx: Transaction, actor: JobActor, wanted: NewAppBinding): Promise<CredentialBinding> {
  // In this order everywhere: two binds at once may not both find that there is none yet.
  const app = await lockApp(tx, wanted.appGuid)
  const instance = await lockServiceInstance(tx, wanted.serviceInstanceGuid)
  if (app.spaceGuid !== instance.spaceGuid) throw unprocessable('The service instance and the app are in different spaces')
  const present = await tx.credentialBinding.findMany({ where: { appGuid: app.guid, type: 'app' } })
  const same = present.filter(({ serviceInstanceGuid }) => serviceInstanceGuid === instance.guid)
  if (same.length > 0 && wanted.strategy !== 'multiple') throw unprocessable('The app is already bound to the service instance')
  const name = wanted.name ?? null
  // Bindings of one instance take turns under one name when credentials are rotated.
  if (name !== null && present.some((each) => each.name === name && each.serviceInstanceGuid !== instance.guid))
    throw unprocessable(
      `The binding name is invalid. App binding names must be unique. The app already has a binding with name '${name}'.`,
    )
  if (same.some((each) => each.name !== name))
    throw unprocessable('The binding name cannot be changed for the same app and service instance')
  const binding = await tx.credentialBinding.create({
    data: {
      guid: randomUUID(),
      type: 'app',
      name,
      serviceInstanceGuid: instance.guid,
      appGuid: app.guid,
      syslogDrainUrl: null,
      lastOperation: { ...succeeded('create', new Date()) },
      ...applyMetadata(undefined, wanted.metadata),
    },
  })
  await recordBindingEvent(tx, actor, binding, app.space, 'create', wanted.byManifest)
  return binding
}
