import { randomUUID } from 'node:crypto'
import type { Transaction } from '@bloomery/database'
import type { PortRange } from '@bloomery/domain'
import { z } from 'zod'

const NAME = 'default-tcp'
/** The ports as they were at the last start. */
const SETTING = 'tcp_ports'

/**
 * The group of all ports that routers hold. It follows the operator's setting for as long as nobody has given it other ports, and
 * stays away once it was deleted.
 */
export async function seedRouterGroup(tx: Transaction, ranges: readonly PortRange[]): Promise<void> {
  const ports = ranges.map(({ first, last }) => (first === last ? String(first) : `${first}-${last}`)).join(',')
  const setting = await tx.setting.findUnique({ where: { name: SETTING } })
  const before = z.string().optional().parse(setting?.value)
  if (before === ports) return
  if (before === undefined)
    await tx.routerGroup.createMany({
      skipDuplicates: true,
      data: [{ guid: randomUUID(), name: NAME, type: 'tcp', reservablePorts: ports }],
    })
  else await tx.routerGroup.updateMany({ where: { name: NAME, reservablePorts: before }, data: { reservablePorts: ports } })
  await tx.setting.upsert({ where: { name: SETTING }, update: { value: ports }, create: { name: SETTING, value: ports } })
}
