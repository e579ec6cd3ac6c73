import { randomUUID } from 'node:crypto'
import { CfError } from '@bloomery/contracts'
import { isUniqueViolation, type Build, type Package } from '@bloomery/database'
import { stagingEnvironment } from '@bloomery/domain'
import type { Context } from '../../http/context.js'
import { unprocessable } from '../../http/errors.js'
import { applyMetadata, type MetadataInput } from '../../http/metadata.js'
import type { JobActor } from '../../jobs/jobs.js'
import { buildFilesContext, readEnvironmentSources, requireBindingFiles } from '../../runs/environment-sources.js'
import { requireStagingQuota } from '../../runs/process-quota.js'
import { logForApp, recordAppEvent } from '../apps/app-events.js'
import { TRANSACTION } from '../apps/change-state.js'
import { lockApp } from '../apps/find-app.js'
import { applyLifecycle, type LifecycleInput } from '../apps/lifecycle.js'

export interface NewBuild {
  readonly lifecycle?: LifecycleInput | undefined
  readonly stagingMemoryMb?: number | undefined
  readonly stagingDiskMb?: number | undefined
  readonly metadata?: MetadataInput | undefined
}

/** Freezes how a package is to be staged, and asks a stager to do it. */
export async function createBuild(context: Context, actor: JobActor, row: Package, input: NewBuild): Promise<Build> {
  if (row.state !== 'READY') throw new CfError('BadRequest', 'Bad request: Cannot stage package whose state is not ready.')
  const { defaults } = context.settings
  const memoryMb = Math.max(defaults.stagingMemoryMb, input.stagingMemoryMb ?? 0)
  const diskMb = Math.max(defaults.stagingDiskMb, input.stagingDiskMb ?? 0)
  const guid = randomUUID()
  const build = await context.db
    .$transaction(async (tx) => {
      const app = await lockApp(tx, row.appGuid)
      if ((await tx.build.count({ where: { appGuid: app.guid, state: 'STAGING' } })) > 0) throw onlyOne()
      // An app's buildpacks and stack may have been disabled since they were chosen.
      const lifecycle = await applyLifecycle(
        tx,
        {
          type: input.lifecycle?.type ?? app.lifecycleType,
          data: {
            buildpacks: input.lifecycle?.data?.buildpacks ?? app.buildpacks,
            stack: input.lifecycle?.data?.stack ?? app.stack,
          },
        },
        false,
      )
      const stack = lifecycle.stack ?? app.stack
      await requireStagingQuota(tx, app, memoryMb)
      const sources = await readEnvironmentSources(tx, context, app, 'staging')
      const files = requireBindingFiles(sources)
      const environment = stagingEnvironment(sources, { version: randomUUID(), stack, memoryMb, diskMb })
      const created = await tx.build.create({
        data: {
          guid,
          appGuid: app.guid,
          packageGuid: row.guid,
          state: 'STAGING',
          buildpacks: lifecycle.buildpacks ?? [],
          stack,
          stagingMemoryMb: memoryMb,
          stagingDiskMb: diskMb,
          environmentEncrypted: { ...context.keyring.encryptJson(environment, `build:${guid}`) },
          ...(files ? { filesEncrypted: { ...context.keyring.encryptJson(files, buildFilesContext(guid)) } } : {}),
          createdByGuid: actor.guid,
          createdByName: actor.name,
          ...applyMetadata(undefined, input.metadata),
        },
      })
      await recordAppEvent(tx, actor, app, 'audit.app.build.create', { build_guid: guid, package_guid: row.guid })
      return created
    }, TRANSACTION)
    .catch((error: unknown) => {
      throw isUniqueViolation(error) ? onlyOne() : error
    })
  logForApp(context, row.appGuid, `Creating build for app with guid ${row.appGuid}`)
  await context.stagingQueue.add({ buildGuid: guid })
  context.nudges.send({ topic: 'stager' })
  return build
}

const onlyOne = (): CfError => unprocessable('Only one build can be STAGING at a time per application.')
