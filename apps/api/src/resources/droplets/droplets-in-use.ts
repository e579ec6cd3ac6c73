import type { Database, Transaction } from '@bloomery/database'

/** Droplets without which something that runs, or is being deployed, could not be started again. */
export async function dropletsInUse(on: Database | Transaction, appGuid: string): Promise<ReadonlySet<string>> {
  const app = await on.app.findUnique({ where: { guid: appGuid }, select: { currentDropletGuid: true } })
  const processes = await on.process.findMany({ where: { appGuid }, select: { currentSpecGuid: true } })
  const specs = await on.runSpec.findMany({
    where: { guid: { in: processes.flatMap(({ currentSpecGuid }) => (currentSpecGuid === null ? [] : [currentSpecGuid])) } },
    select: { dropletGuid: true },
  })
  const deployments = await on.deployment.findMany({
    where: { appGuid, statusValue: 'ACTIVE' },
    select: { dropletGuid: true, previousDropletGuid: true },
  })
  return new Set(
    [
      app?.currentDropletGuid,
      ...specs.map(({ dropletGuid }) => dropletGuid),
      ...deployments.flatMap(({ dropletGuid, previousDropletGuid }) => [dropletGuid, previousDropletGuid]),
    ].filter((guid) => guid != null),
  )
}
