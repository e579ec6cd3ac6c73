import type { FastifyInstance } from 'fastify'
import type { Transaction } from '@bloomery/database'
import {
  bindingDelivery,
  bindingVariables,
  mergeVariables,
  variableFaults,
  vcapApplication,
  vcapServices,
  type BoundService,
} from '@bloomery/domain'
import { z } from 'zod'
import { parseBody } from '../../http/bodies.js'
import type { Context } from '../../http/context.js'
import { unprocessable } from '../../http/errors.js'
import { requireFeature } from '../../http/feature-flags.js'
import type { JobActor } from '../../jobs/jobs.js'
import { actorOf } from '../../jobs/routes.js'
import {
  identifyApp,
  readAppVariables,
  readBoundServices,
  readEnvironmentGroup,
  variablesContext,
} from '../../runs/environment-sources.js'
import { logForApp, recordAppEvent } from './app-events.js'
import { TRANSACTION } from './change-state.js'
import { findApp, lockApp, type AppInSpace } from './find-app.js'

interface ByGuid {
  Params: { guid: string }
}
const PatchVariables = z.strictObject({ var: z.record(z.string(), z.unknown(), 'must be an object') })

export function appEnvironmentRoutes(app: FastifyInstance, context: Context): void {
  const { db } = context
  const presentVariables = (guid: string, variables: Record<string, string>, baseUrl: string) => ({
    var: variables,
    links: {
      self: { href: `${baseUrl}/v3/apps/${guid}/environment_variables` },
      app: { href: `${baseUrl}/v3/apps/${guid}` },
    },
  })

  app.get<ByGuid>('/v3/apps/:guid/env', { config: { permission: 'space.read_secrets' } }, async (request) => {
    const found = await findApp(db, request, request.params.guid, 'space.read_secrets')
    if (!request.access.isGlobalReader) {
      await requireFeature(db, 'env_var_visibility')
      await requireFeature(db, 'space_developer_env_var_visibility')
    }
    const [running, staging, bindings, identity] = await Promise.all([
      readEnvironmentGroup(db, context, 'running'),
      readEnvironmentGroup(db, context, 'staging'),
      readBoundServices(db, context, found.guid),
      identifyApp(db, context, found),
    ])
    await recordShown(context, actorOf(request), found, 'audit.app.environment.show')
    return {
      environment_variables: readAppVariables(context, found),
      staging_env_json: staging,
      running_env_json: running,
      system_env_json: systemVariables(found, bindings),
      application_env_json: { VCAP_APPLICATION: vcapApplication(identity, { kind: 'app', version: '' }) },
    }
  })

  app.get<ByGuid>('/v3/apps/:guid/environment_variables', { config: { permission: 'space.read_secrets' } }, async (request) => {
    const found = await findApp(db, request, request.params.guid, 'space.read_secrets')
    if (!request.access.isGlobalReader) await requireFeature(db, 'space_developer_env_var_visibility')
    await recordShown(context, actorOf(request), found, 'audit.app.environment_variables.show')
    return presentVariables(found.guid, readAppVariables(context, found), request.baseUrl)
  })

  app.patch<ByGuid>('/v3/apps/:guid/environment_variables', { config: { permission: 'space.develop' } }, async (request) => {
    const found = await findApp(db, request, request.params.guid, 'space.develop')
    const { var: change } = parseBody(PatchVariables, request.body)
    const variables = await patchVariables(context, actorOf(request), found, change)
    return presentVariables(found.guid, variables, request.baseUrl)
  })
}

/** VCAP_SERVICES as it is, or where to find what stands in its place. */
function systemVariables(app: AppInSpace, bindings: readonly BoundService[]): Record<string, unknown> {
  const delivery = bindingDelivery(app)
  return delivery === 'variable' ? { VCAP_SERVICES: vcapServices(bindings) } : bindingVariables(bindings, delivery)
}

/** Faults that begin with a small letter are what is wrong with the name. */
export const describeFault = (fault: string): string => (/^[a-z]/.test(fault) ? `Environment variables ${fault}` : fault)

/** Merges variables into an app's own; null takes one away. What runs does not notice before its next start. In the caller's transaction. */
export async function patchVariablesIn(
  tx: Transaction,
  context: Pick<Context, 'keyring'>,
  actor: JobActor,
  appGuid: string,
  change: Readonly<Record<string, unknown>>,
  options: { readonly manifestTriggered?: boolean } = {},
): Promise<Record<string, string>> {
  const faults = variableFaults(change)
  if (faults.length > 0) throw unprocessable(faults.map(describeFault))
  const app = await lockApp(tx, appGuid)
  const variables = mergeVariables(readAppVariables(context, app), change as Record<string, string | null>)
  const tooMany = variableFaults(variables)
  if (tooMany.length > 0) throw unprocessable(tooMany.map(describeFault))
  await tx.app.update({
    where: { guid: app.guid },
    data: { environmentVariablesEncrypted: { ...context.keyring.encryptJson(variables, variablesContext(app.guid)) } },
  })
  await recordAppEvent(tx, actor, app, 'audit.app.update', {
    manifest_triggered: options.manifestTriggered ?? false,
    request: { environment_variables: '[PRIVATE DATA HIDDEN]' },
  })
  return variables
}

async function patchVariables(
  context: Context,
  actor: JobActor,
  app: AppInSpace,
  change: Readonly<Record<string, unknown>>,
): Promise<Record<string, string>> {
  const merged = await context.db.$transaction((tx) => patchVariablesIn(tx, context, actor, app.guid, change), TRANSACTION)
  const told = JSON.stringify({ environment_variables: '[PRIVATE DATA HIDDEN]' })
  logForApp(context, app.guid, `Updated app with guid ${app.guid} (${told})`)
  return merged
}

const recordShown = ({ db }: Context, actor: JobActor, app: AppInSpace, type: string): Promise<void> =>
  db.$transaction((tx) => recordAppEvent(tx, actor, app, type))
