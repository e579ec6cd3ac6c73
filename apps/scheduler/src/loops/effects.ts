import type { LogSender } from '@bloomery/feeds'
import type { Nudge } from '@bloomery/contracts'

/** What a committed change makes the rest of the platform hear. Collected while writing, sent once it is true. */
export class Effects {
  readonly #changed = new Map<string, Nudge>()
  readonly #lines: { appGuid: string; text: string }[] = []

  changed(kind: 'process' | 'deployment', guid: string): void {
    this.#changed.set(`${kind} ${guid}`, { topic: 'changed', kind, guid })
  }

  log(appGuid: string, text: string): void {
    this.#lines.push({ appGuid, text })
  }

  /** Nudges wake long polls; lines go into the apps' logs as the API's. */
  send(to: {
    readonly nudge: (nudge: Nudge) => void
    readonly logs: Pick<LogSender, 'send'>
    readonly nextTimestamp: () => string
  }): void {
    for (const { appGuid, text } of this.#lines)
      to.logs.send({
        kind: 'log',
        sourceId: appGuid,
        instanceId: '0',
        sourceType: 'API',
        stream: 'OUT',
        timestamp: to.nextTimestamp(),
        text,
      })
    for (const nudge of this.#changed.values()) to.nudge(nudge)
  }
}
