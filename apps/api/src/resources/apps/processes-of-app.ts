import { randomUUID } from 'node:crypto'
import { defaultHealthCheck } from '@bloomery/domain'
import type { Droplet, Process, Transaction } from '@bloomery/database'
import type { Context } from '../../http/context.js'

/** A new process; the first of type web has the app's own guid and one instance, all others none until they are scaled. */
export async function createProcess(
  tx: Transaction,
  { settings }: Pick<Context, 'settings'>,
  appGuid: string,
  type: string,
): Promise<Process> {
  const isFirstWeb = type === 'web' && (await tx.process.count({ where: { guid: appGuid } })) === 0
  return tx.process.create({
    data: {
      guid: isFirstWeb ? appGuid : randomUUID(),
      appGuid,
      type,
      instances: type === 'web' ? 1 : 0,
      memoryMb: settings.defaults.memoryMb,
      diskMb: settings.defaults.diskMb,
      logRateLimit: BigInt(settings.defaults.logRateLimit),
      healthCheck: { ...defaultHealthCheck(type) },
      version: randomUUID(),
    },
  })
}

/** Rows for the types that a droplet brings and the app does not have yet. */
export async function createMissingProcesses(
  tx: Transaction,
  context: Pick<Context, 'settings'>,
  appGuid: string,
  droplet: Pick<Droplet, 'processTypes'>,
): Promise<void> {
  const present = new Set((await tx.process.findMany({ where: { appGuid }, select: { type: true } })).map(({ type }) => type))
  for (const type of ['web', ...Object.keys(droplet.processTypes as Record<string, string>)]) {
    if (present.has(type)) continue
    await createProcess(tx, context, appGuid, type)
    present.add(type)
  }
}

/** The app's process of a type; during a deployment the newest, as in the reference. */
export const findProcessOfType = (tx: Transaction, appGuid: string, type: string): Promise<Process | null> =>
  tx.process.findFirst({ where: { appGuid, type }, orderBy: [{ createdAt: 'desc' }, { guid: 'asc' }] })
