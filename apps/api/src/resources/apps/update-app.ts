import type { App, Transaction } from '@bloomery/database'
import type { Context } from '../../http/context.js'
import { applyMetadata, type MetadataInput } from '../../http/metadata.js'
import type { JobActor } from '../../jobs/jobs.js'
import { logForApp, recordAppEvent } from './app-events.js'
import { TRANSACTION } from './change-state.js'
import { nameTaken } from './create-app.js'
import { lockApp, type AppInSpace } from './find-app.js'
import { applyLifecycle, type LifecycleInput } from './lifecycle.js'

export interface AppChange {
  readonly name?: string | undefined
  readonly lifecycle?: LifecycleInput | undefined
  readonly metadata?: MetadataInput | undefined
}

/** Renames an app, changes its lifecycle or its metadata, in the caller's transaction. */
export async function updateAppIn(
  tx: Transaction,
  actor: JobActor,
  appGuid: string,
  change: AppChange,
  options: { readonly manifestTriggered?: boolean } = {},
): Promise<App> {
  const present = await lockApp(tx, appGuid)
  const row = await tx.app.update({
    where: { guid: appGuid },
    data: {
      ...(change.name === undefined ? {} : { name: change.name }),
      ...(change.lifecycle ? await applyLifecycle(tx, change.lifecycle, false) : {}),
      ...applyMetadata(present, change.metadata),
    },
  })
  await recordAppEvent(tx, actor, { ...row, space: present.space }, 'audit.app.update', {
    request: requestOf(change),
    manifest_triggered: options.manifestTriggered ?? false,
  })
  return row
}

export async function updateApp(context: Context, actor: JobActor, found: AppInSpace, change: AppChange): Promise<App> {
  try {
    const updated = await context.db.$transaction((tx) => updateAppIn(tx, actor, found.guid, change), TRANSACTION)
    logForApp(context, found.guid, `Updated app with guid ${found.guid} (${JSON.stringify(requestOf(change))})`)
    if (change.name !== undefined && change.name !== found.name) context.nudges.send({ topic: 'scheduler' })
    return updated
  } catch (error) {
    throw nameTaken(error, change.name ?? found.name)
  }
}

/** What events and logs tell of a change; addresses of buildpacks may hold credentials and are left out. */
const requestOf = ({ name, lifecycle, metadata }: AppChange) => ({
  ...(name === undefined ? {} : { name }),
  ...(lifecycle
    ? {
        lifecycle: {
          type: lifecycle.type ?? 'buildpack',
          ...(lifecycle.data?.stack ? { data: { stack: lifecycle.data.stack } } : {}),
        },
      }
    : {}),
  ...(metadata
    ? {
        metadata: {
          ...(metadata.labels ? { labels: metadata.labels } : {}),
          ...(metadata.annotations ? { annotations: metadata.annotations } : {}),
        },
      }
    : {}),
})
