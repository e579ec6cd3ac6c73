import { randomUUID } from 'node:crypto'
import { HealthCheck, type RunSpec } from '@bloomery/contracts'
import { cpuWeight, runningEnvironment } from '@bloomery/domain'
import type { Droplet, Process, Transaction } from '@bloomery/database'
import type { Context } from '../http/context.js'
import { unprocessable } from '../http/errors.js'
import type { AppInSpace } from '../resources/apps/find-app.js'
import { readEnvironmentSources, requireBindingFiles, specFilesContext } from './environment-sources.js'

const DEFAULT_PORT = 8080

/** The command with which a process of this type starts; undefined where neither the user nor the droplet knows one. */
export const commandOf = (
  process: Pick<Process, 'type' | 'command'>,
  droplet: Pick<Droplet, 'processTypes'> | null,
): string | undefined => process.command ?? (droplet?.processTypes as Record<string, string> | undefined)?.[process.type]

/**
 * Freezes what each process shall run: a new version of its run spec. `makeCurrent`: instances change over at once; without it
 * the spec waits for the end of a deployment. A type that the droplet no longer knows can't run and gets none.
 */
export async function writeRunSpecs(
  tx: Transaction,
  context: Pick<Context, 'keyring' | 'settings'>,
  app: AppInSpace,
  droplet: Droplet,
  processes: readonly Process[],
  options: { readonly makeCurrent: boolean } = { makeCurrent: true },
): Promise<void> {
  const sources = await readEnvironmentSources(tx, context, app, 'running')
  const files = requireBindingFiles(sources)
  for (const process of processes) {
    const command = commandOf(process, droplet)
    if (command === undefined && process.type !== 'web') {
      if (options.makeCurrent) await tx.process.update({ where: { guid: process.guid }, data: { currentSpecGuid: null } })
      continue
    }
    const guid = randomUUID()
    const newest = await tx.runSpec.aggregate({ where: { processGuid: process.guid }, _max: { version: true } })
    const version = (newest._max.version ?? 0) + 1
    const processVersion = randomUUID()
    const spec: RunSpec = {
      guid,
      version,
      appGuid: app.guid,
      appName: app.name,
      spaceGuid: app.spaceGuid,
      spaceName: app.space.name,
      organizationGuid: app.space.organizationGuid,
      organizationName: app.space.organization.name,
      processGuid: process.guid,
      processType: process.type,
      stack: droplet.stack ?? app.stack,
      dropletGuid: droplet.guid,
      command: command ?? null,
      memoryMb: process.memoryMb,
      diskMb: process.diskMb,
      logRateLimit: Number(process.logRateLimit),
      pidsLimit: 1024,
      fileDescriptors: 16_384,
      cpuWeight: cpuWeight(process.memoryMb),
      ports: process.ports.length > 0 ? process.ports : [DEFAULT_PORT],
      healthCheck: HealthCheck.parse(process.healthCheck),
      readinessHealthCheck: HealthCheck.parse(process.readinessHealthCheck),
      gracefulStopSeconds: 10,
    }
    const environment = runningEnvironment(sources, { ...process, version: processVersion })
    await tx.runSpec.create({
      data: {
        guid,
        processGuid: process.guid,
        appGuid: app.guid,
        version,
        dropletGuid: droplet.guid,
        spec,
        environmentEncrypted: { ...context.keyring.encryptJson(environment, `spec:${guid}`) },
        ...(files ? { filesEncrypted: { ...context.keyring.encryptJson(files, specFilesContext(guid)) } } : {}),
      },
    })
    if (options.makeCurrent)
      await tx.process.update({ where: { guid: process.guid }, data: { currentSpecGuid: guid, version: processVersion } })
  }
}

/** The droplet with which the app would start; 422 in the reference's words where there is none. */
export async function requireCurrentDroplet(tx: Transaction, app: AppInSpace): Promise<Droplet> {
  const droplet =
    app.currentDropletGuid === null ? null : await tx.droplet.findUnique({ where: { guid: app.currentDropletGuid } })
  if (!droplet || droplet.state !== 'STAGED') throw unprocessable('Assign a droplet before starting this app.')
  return droplet
}
