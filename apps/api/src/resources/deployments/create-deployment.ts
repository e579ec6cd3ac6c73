import { randomUUID } from 'node:crypto'
import type { Deployment, Process, Transaction } from '@bloomery/database'
import type { Prisma } from '@bloomery/database'
import { CfError } from '@bloomery/contracts'
import type { Context } from '../../http/context.js'
import { unprocessable } from '../../http/errors.js'
import { applyMetadata, type MetadataInput } from '../../http/metadata.js'
import type { JobActor } from '../../jobs/jobs.js'
import { requireProcessQuota } from '../../runs/process-quota.js'
import { requireCurrentDroplet, writeRunSpecs } from '../../runs/write-run-specs.js'
import { logForApp, recordAppEvent } from '../apps/app-events.js'
import { beginRunning, TRANSACTION } from '../apps/change-state.js'
import { assignDroplet } from '../apps/current-droplet-routes.js'
import { lockApp, type AppInSpace } from '../apps/find-app.js'
import { findProcessOfType } from '../apps/processes-of-app.js'

export interface NewDeployment {
  readonly dropletGuid: string | undefined
  readonly options: {
    readonly max_in_flight: number
    readonly web_instances?: number
    readonly memory_in_mb?: number
    readonly disk_in_mb?: number
    readonly log_rate_limit_in_bytes_per_second?: number
  }
  readonly metadata?: MetadataInput | undefined
}

/**
 * Begins a rolling deployment: a second web process with a spec of its own, which the scheduler lets grow while the first shrinks.
 * An app that is stopped is simply started with the new droplet. A deployment under way is superseded.
 */
export async function createDeployment(
  context: Context,
  actor: JobActor,
  appGuid: string,
  input: NewDeployment,
): Promise<Deployment> {
  const { maxDiskMb } = context.settings.defaults
  if ((input.options.disk_in_mb ?? 0) > maxDiskMb)
    throw unprocessable(`Disk in mb must be less than or equal to ${maxDiskMb} MB, the most that this platform gives an instance`)
  const created = await context.db.$transaction(async (tx) => {
    const app = await lockApp(tx, appGuid)
    const previousDropletGuid = app.currentDropletGuid
    if (input.dropletGuid !== undefined) await assignDroplet(tx, context, actor, app, input.dropletGuid)
    const current = await lockApp(tx, appGuid)
    if (current.currentDropletGuid === null)
      throw unprocessable('Invalid droplet. Please specify a droplet in the request or set a current droplet for the app.')
    const deployment =
      app.state === 'STOPPED'
        ? await startAtOnce(tx, context, actor, current, previousDropletGuid, input)
        : await beginRolling(tx, context, actor, current, previousDropletGuid, input)
    await recordAppEvent(tx, actor, app, 'audit.app.deployment.create', {
      deployment_guid: deployment.guid,
      droplet_guid: deployment.dropletGuid,
      type: 'deployment',
      strategy: 'rolling',
      request: { ...input.options },
    })
    return deployment
  }, TRANSACTION)
  context.nudges.send({ topic: 'scheduler' })
  context.changes.announce('process', appGuid)
  logForApp(context, appGuid, `Creating deployment for app with guid ${appGuid}`)
  return created
}

const scaled = (process: Process, { options }: NewDeployment): Process => ({
  ...process,
  memoryMb: options.memory_in_mb ?? process.memoryMb,
  diskMb: options.disk_in_mb ?? process.diskMb,
  logRateLimit:
    options.log_rate_limit_in_bytes_per_second === undefined
      ? process.logRateLimit
      : BigInt(options.log_rate_limit_in_bytes_per_second),
})

const rowOf = (app: AppInSpace, previousDropletGuid: string | null, input: NewDeployment) => ({
  guid: randomUUID(),
  appGuid: app.guid,
  strategy: 'rolling',
  dropletGuid: app.currentDropletGuid,
  previousDropletGuid,
  options: { ...input.options },
  ...applyMetadata(undefined, input.metadata),
})

async function startAtOnce(
  tx: Transaction,
  context: Context,
  actor: JobActor,
  app: AppInSpace,
  previousDropletGuid: string | null,
  input: NewDeployment,
): Promise<Deployment> {
  const web = await findProcessOfType(tx, app.guid, 'web')
  if (web) {
    const wish = scaled(web, input)
    await tx.process.update({
      where: { guid: web.guid },
      data: {
        instances: input.options.web_instances ?? web.instances,
        memoryMb: wish.memoryMb,
        diskMb: wish.diskMb,
        logRateLimit: wish.logRateLimit,
      },
    })
  }
  await beginRunning(tx, context, app.guid)
  await recordAppEvent(tx, actor, app, 'audit.app.start')
  return tx.deployment.create({
    data: {
      ...rowOf(app, previousDropletGuid, input),
      statusValue: 'FINALIZED',
      statusReason: 'DEPLOYED',
      originalInstances: web?.instances ?? 1,
    },
  })
}

async function beginRolling(
  tx: Transaction,
  context: Context,
  actor: JobActor,
  app: AppInSpace,
  previousDropletGuid: string | null,
  input: NewDeployment,
): Promise<Deployment> {
  const droplet = await requireCurrentDroplet(tx, app)
  const processes = await tx.process.findMany({ where: { appGuid: app.guid }, orderBy: [{ createdAt: 'asc' }, { guid: 'asc' }] })
  const webs = processes.filter(({ type }) => type === 'web')
  const [oldest] = webs
  const newest = webs.at(-1)
  if (!oldest || !newest) throw unprocessable('The app has no web process that could be replaced.')
  const active = await tx.deployment.findFirst({
    where: { appGuid: app.guid, statusValue: 'ACTIVE' },
    orderBy: { createdAt: 'desc' },
  })
  // A deployment in the midst of another goes for the number that this one was going for.
  const target = input.options.web_instances ?? (active ? wantedBy(active) : oldest.instances)
  const guid = randomUUID()
  const wish = scaled(newest, input)
  const starting = Math.min(input.options.max_in_flight, target)
  const deploymentRow = rowOf(app, active?.previousDropletGuid ?? previousDropletGuid, input)
  const next = { ...wish, guid, instances: starting }
  await requireRollingQuota(tx, app, processes, next)
  if (active)
    await tx.deployment.update({
      where: { guid: active.guid },
      data: {
        statusValue: 'FINALIZED',
        statusReason: 'SUPERSEDED',
        detail: 'A newer deployment took over.',
        lastStatusChangeAt: context.now(),
      },
    })
  const deployment = await tx.deployment.create({
    data: {
      ...deploymentRow,
      options: { ...input.options, web_instances: target },
      statusValue: 'ACTIVE',
      statusReason: 'DEPLOYING',
      oldProcessGuid: oldest.guid,
      newProcessGuid: guid,
      originalInstances: active?.originalInstances ?? oldest.instances,
    },
  })
  const added = await tx.process.create({
    data: {
      guid,
      appGuid: app.guid,
      type: 'web',
      command: newest.command,
      instances: starting,
      memoryMb: wish.memoryMb,
      diskMb: wish.diskMb,
      logRateLimit: wish.logRateLimit,
      healthCheck: newest.healthCheck as Prisma.InputJsonObject,
      readinessHealthCheck: newest.readinessHealthCheck as Prisma.InputJsonObject,
      ports: newest.ports,
      deploymentGuid: deployment.guid,
      version: randomUUID(),
      labels: newest.labels as Prisma.InputJsonObject,
      annotations: newest.annotations as Prisma.InputJsonObject,
    },
  })
  await writeRunSpecs(tx, context, app, droplet, [added])
  // Processes of other types change over once the deployment has succeeded.
  await writeRunSpecs(
    tx,
    context,
    app,
    droplet,
    processes.filter(({ type }) => type !== 'web'),
    { makeCurrent: false },
  )
  await recordAppEvent(tx, actor, app, 'audit.app.process.create', { process_guid: guid, process_type: 'web' })
  return deployment
}

const wantedBy = ({ options, originalInstances }: Deployment): number => {
  const asked = (options as { web_instances?: number | null }).web_instances
  return typeof asked === 'number' ? asked : originalInstances
}

async function requireRollingQuota(tx: Transaction, app: AppInSpace, before: readonly Process[], added: Process): Promise<void> {
  try {
    await requireProcessQuota(tx, app, before, [...before, added])
  } catch (error) {
    if (!(error instanceof CfError) || !error.message.includes('quota')) throw error
    throw unprocessable(
      `${error.message} Both versions run side by side for a while; the quota of organization '${app.space.organization.name}' or space '${app.space.name}' may be too small for that.`,
    )
  }
}
