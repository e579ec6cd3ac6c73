import { randomUUID } from 'node:crypto'
import { isUniqueViolation, type App, type Transaction } from '@bloomery/database'
import type { Context } from '../../http/context.js'
import { unprocessable } from '../../http/errors.js'
import { applyMetadata, type MetadataInput } from '../../http/metadata.js'
import type { JobActor } from '../../jobs/jobs.js'
import { variablesContext } from '../../runs/environment-sources.js'
import type { SpaceInOrganization } from '../spaces/find-space.js'
import { logForApp, recordAppEvent } from './app-events.js'
import { TRANSACTION } from './change-state.js'
import { applyLifecycle, type LifecycleInput } from './lifecycle.js'
import { createProcess } from './processes-of-app.js'

export interface NewApp {
  readonly name: string
  readonly lifecycle?: LifecycleInput | undefined
  readonly variables?: Record<string, string>
  readonly metadata?: MetadataInput | undefined
}
type Parts = Pick<Context, 'keyring' | 'settings'>

/** Creates an app with its web process, stopped, in the caller's transaction. A name that is taken breaks the unique index. */
export async function createAppIn(
  tx: Transaction,
  context: Parts,
  actor: JobActor,
  space: SpaceInOrganization,
  input: NewApp,
  options: { readonly manifestTriggered?: boolean } = {},
): Promise<App> {
  const guid = randomUUID()
  const variables = input.variables ?? {}
  const lifecycle = await applyLifecycle(tx, input.lifecycle, true)
  const row = await tx.app.create({
    data: {
      guid,
      name: input.name,
      spaceGuid: space.guid,
      ...lifecycle,
      ...(Object.keys(variables).length === 0
        ? {}
        : { environmentVariablesEncrypted: { ...context.keyring.encryptJson(variables, variablesContext(guid)) } }),
      ...applyMetadata(undefined, input.metadata),
    },
  })
  await createProcess(tx, context, guid, 'web')
  const event = { ...row, space }
  await recordAppEvent(tx, actor, event, 'audit.app.create', {
    request: { name: input.name },
    manifest_triggered: options.manifestTriggered ?? false,
  })
  await recordAppEvent(tx, actor, event, 'audit.app.process.create', { process_guid: guid, process_type: 'web' })
  return row
}

/** Throws CfError with the reference's words, e.g. for a name that is taken. */
export async function createApp(context: Context, actor: JobActor, space: SpaceInOrganization, input: NewApp): Promise<App> {
  try {
    const created = await context.db.$transaction((tx) => createAppIn(tx, context, actor, space, input), TRANSACTION)
    logForApp(context, created.guid, `Created app with guid ${created.guid}`)
    return created
  } catch (error) {
    throw nameTaken(error, input.name)
  }
}

export const nameTaken = (error: unknown, name: string): unknown =>
  isUniqueViolation(error) ? unprocessable(`App with the name '${name}' already exists.`) : error
