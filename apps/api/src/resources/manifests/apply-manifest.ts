import { CfError } from '@bloomery/contracts'
import { isUniqueViolation, type Process, type Transaction } from '@bloomery/database'
import type { AppManifest, ManifestProcess } from '@bloomery/domain'
import { z } from 'zod'
import type { Context } from '../../http/context.js'
import { notFound } from '../../http/errors.js'
import type { JobActor, RunningJob } from '../../jobs/jobs.js'
import { waitUntilBound } from '../../service-bindings/await-bindings.js'
import { logForApp, recordAppEvent } from '../apps/app-events.js'
import { createAppIn } from '../apps/create-app.js'
import { patchVariablesIn } from '../apps/environment-routes.js'
import { APP_FEATURES, requireOneDelivery, type FeatureName } from '../apps/feature-routes.js'
import { lockApp } from '../apps/find-app.js'
import { createProcess, findProcessOfType } from '../apps/processes-of-app.js'
import { updateAppIn } from '../apps/update-app.js'
import { scaleProcessIn, type ScaleProcess } from '../processes/scale.js'
import { updateProcessIn } from '../processes/update.js'
import type { SpaceInOrganization } from '../spaces/find-space.js'
import { applyRoutes } from './manifest-routes.js'
import { applyServices } from './manifest-services.js'
import { parseYaml, readApps } from './read-manifest.js'

export const ApplyManifestParams = z.object({ spaceGuid: z.string(), yaml: z.string() })
type Params = z.infer<typeof ApplyManifestParams>
/** Many apps make many statements. */
const TRANSACTION = { timeout: 60_000, maxWait: 10_000 } as const
const ATTEMPTS = 3

/**
 * Applies a manifest as a whole or not at all: creates what is missing, changes what is named, lets alone what is not. Everything is
 * asked for by name, so that it may be run again after a crash at any line.
 */
export async function applyManifest(context: Context, job: RunningJob<Params>): Promise<void> {
  const { spaceGuid, yaml } = job.params
  const manifests = readApps(parseYaml(yaml))
  for (const { name, sidecars } of manifests)
    if (sidecars.length > 0)
      job.warn(`For application '${name}': Sidecars are not run by this platform and were left out: ${sidecars.join(', ')}.`)
  const applied = await retried(() =>
    context.db.$transaction(async (tx) => {
      const space = await tx.space.findUnique({ where: { guid: spaceGuid }, include: { organization: true } })
      if (!space) throw notFound('Space')
      // All locks in one order before anything else, so that two manifests never wait for each other.
      const existing = await tx.app.findMany({
        where: { spaceGuid, name: { in: manifests.map(({ name }) => name) } },
        orderBy: { guid: 'asc' },
      })
      for (const { guid } of existing) await lockApp(tx, guid)
      const told: { guid: string; isNew: boolean; underWay: readonly string[] }[] = []
      for (const manifest of manifests) {
        const present = existing.find(({ name }) => name === manifest.name)
        told.push(await naming(manifest.name, () => applyOne(tx, context, job.actor, space, manifest, present?.guid)))
      }
      return told
    }, TRANSACTION),
  )
  for (const { guid, isNew } of applied) {
    if (isNew) logForApp(context, guid, `Created app with guid ${guid}`)
    logForApp(context, guid, `Applied manifest to app with guid ${guid}`)
    context.changes.announce('process', guid)
  }
  context.nudges.send({ topic: 'scheduler' })
  context.operations.kick()
  // The push goes on with starting the app, which shall find its credentials.
  await waitUntilBound(
    context.db,
    applied.flatMap(({ underWay }) => underWay),
  )
}

/** Two pushes of one new app meet in the unique index: the second then finds the app of the first. */
async function retried<T>(work: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++)
    try {
      return await work()
    } catch (error) {
      if (attempt === ATTEMPTS || !isUniqueViolation(error)) throw error
    }
}

async function naming<T>(app: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw error instanceof CfError
      ? new CfError(
          error.kind,
          error.details.map((detail) => `For application '${app}': ${detail}`),
          { cause: error },
        )
      : error
  }
}

const MANIFEST = { manifestTriggered: true } as const

async function applyOne(
  tx: Transaction,
  context: Context,
  actor: JobActor,
  space: SpaceInOrganization,
  manifest: AppManifest,
  presentGuid: string | undefined,
): Promise<{ guid: string; isNew: boolean; underWay: readonly string[] }> {
  const { metadata } = manifest
  const wantsLifecycle = manifest.buildpacks !== undefined || manifest.stack !== undefined
  const lifecycle = wantsLifecycle
    ? {
        type: 'buildpack',
        data: {
          ...(manifest.buildpacks ? { buildpacks: [...manifest.buildpacks] } : {}),
          ...(manifest.stack === undefined ? {} : { stack: manifest.stack }),
        },
      }
    : undefined
  const guid =
    presentGuid ?? (await createAppIn(tx, context, actor, space, { name: manifest.name, lifecycle, metadata }, MANIFEST)).guid
  if (presentGuid !== undefined && (lifecycle || metadata)) await updateAppIn(tx, actor, guid, { lifecycle, metadata }, MANIFEST)
  for (const process of manifest.processes) await applyProcess(tx, context, actor, guid, process)
  const { env, features } = manifest
  if (env && Object.keys(env).length > 0) await patchVariablesIn(tx, context, actor, guid, env, MANIFEST)
  if (Object.keys(features).length > 0)
    requireOneDelivery(await tx.app.update({ where: { guid }, data: featureColumns(features) }))
  const app = await lockApp(tx, guid)
  await applyRoutes(tx, context, actor, app, manifest)
  const underWay = await applyServices(tx, context, actor, app, manifest.services)
  await recordAppEvent(tx, actor, app, 'audit.app.apply_manifest', { request: { manifest: '[PRIVATE DATA HIDDEN]' } })
  return { guid, isNew: presentGuid === undefined, underWay }
}

const featureColumns = (
  features: Readonly<Record<string, boolean>>,
): Partial<Record<(typeof APP_FEATURES)[FeatureName]['column'], boolean>> =>
  Object.fromEntries(
    Object.entries(APP_FEATURES).flatMap(([name, { column }]) =>
      features[name] === undefined ? [] : [[column, features[name]]],
    ),
  )

async function applyProcess(
  tx: Transaction,
  context: Context,
  actor: JobActor,
  appGuid: string,
  wish: ManifestProcess,
): Promise<void> {
  const process = (await findProcessOfType(tx, appGuid, wish.type)) ?? (await addProcess(tx, context, actor, appGuid, wish.type))
  const { command, healthCheck, readinessHealthCheck } = wish
  if (command !== undefined || healthCheck || readinessHealthCheck)
    await updateProcessIn(tx, actor, process, { command, healthCheck, readinessHealthCheck }, MANIFEST)
  const scale = changedScale(process, wish)
  if (scale) await scaleProcessIn(tx, context, actor, process, scale, MANIFEST)
}

async function addProcess(tx: Transaction, context: Context, actor: JobActor, appGuid: string, type: string): Promise<Process> {
  const process = await createProcess(tx, context, appGuid, type)
  await recordAppEvent(tx, actor, await lockApp(tx, appGuid), 'audit.app.process.create', {
    process_guid: process.guid,
    process_type: type,
    manifest_triggered: true,
  })
  return process
}

/** Only what differs, so that a manifest applied again is no scaling, which a deployment under way would refuse. */
function changedScale(process: Process, wish: ManifestProcess): ScaleProcess | undefined {
  const scale: ScaleProcess = {
    ...differing('instances', wish.instances, process.instances),
    ...differing('memory_in_mb', wish.memoryMb, process.memoryMb),
    ...differing('disk_in_mb', wish.diskMb, process.diskMb),
    ...differing('log_rate_limit_in_bytes_per_second', wish.logRateLimit, Number(process.logRateLimit)),
  }
  return Object.keys(scale).length > 0 ? scale : undefined
}
const differing = (key: keyof ScaleProcess, wanted: number | undefined, present: number): ScaleProcess =>
  wanted === undefined || wanted === present ? {} : { [key]: wanted }
