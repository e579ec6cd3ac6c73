import type { Prisma, Transaction } from '@bloomery/database'
import { createTimestamps, type LogSender } from '@bloomery/feeds'
import { recordAudit } from '../../http/audit.js'
import type { Context } from '../../http/context.js'
import type { JobActor } from '../../jobs/jobs.js'

interface EventApp {
  readonly guid: string
  readonly name: string
  readonly spaceGuid: string
  readonly space: { readonly organizationGuid: string }
}

/** An audit event about an app, in the transaction of the change it tells of. */
export const recordAppEvent = (
  tx: Transaction,
  actor: JobActor,
  app: EventApp,
  type: string,
  data: Prisma.InputJsonObject = {},
): Promise<void> =>
  recordAudit(tx, actor, {
    type,
    target: { type: 'app', guid: app.guid, name: app.name },
    spaceGuid: app.spaceGuid,
    organizationGuid: app.space.organizationGuid,
    data,
  })

// Times of log lines are unique per sender; every context has one sender.
const CLOCKS = new WeakMap<LogSender, () => string>()

/** Writes a line of source API into the app's log. */
export function logForApp(
  { logSender }: Pick<Context, 'logSender'>,
  appGuid: string,
  text: string,
  stream: 'OUT' | 'ERR' = 'OUT',
): void {
  const next = CLOCKS.get(logSender) ?? createTimestamps()
  CLOCKS.set(logSender, next)
  logSender.send({ kind: 'log', sourceId: appGuid, instanceId: '0', sourceType: 'API', stream, timestamp: next(), text })
}
