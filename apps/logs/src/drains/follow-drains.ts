import { SyslogDrains, type NodeIdentity } from '@bloomery/contracts'
import { dialRole } from '@bloomery/feeds'
import type { Logger } from '@bloomery/telemetry'

const POLL_MS = 5_000

/** Asks the api every few seconds which drains there are; without an answer what is known stays. */
export function followDrains(options: {
  /** https://host:port of the api's internal listener. */
  readonly url: string
  readonly identity: () => NodeIdentity
  readonly apply: (drains: SyslogDrains) => Promise<void>
  readonly log: Logger
  readonly pollMs?: number
}): { close(): void } {
  let revision = ''
  let dispatcher = dialRole('api', options.identity, { connections: 1 })
  let told = false
  let closed = false
  let timer: NodeJS.Timeout | undefined

  const look = async (): Promise<void> => {
    const path = `/internal/syslog-drains${revision === '' ? '' : `?revision=${encodeURIComponent(revision)}`}`
    const { statusCode, body } = await dispatcher.request({ origin: options.url, method: 'GET', path })
    const text = await body.text()
    if (statusCode === 204) return
    if (statusCode !== 200) throw new Error(`the api answered ${statusCode}`)
    const drains = SyslogDrains.parse(JSON.parse(text))
    await options.apply(drains)
    revision = drains.revision
  }
  const turn = async (): Promise<void> => {
    try {
      await look()
      told = false
    } catch (error) {
      // Said once: the api may be away for long, and nothing depends on it.
      if (!told) options.log.info({ err: error }, 'the list of syslog drains cannot be read; going on with those that are known')
      told = true
      void dispatcher.close().catch(() => undefined)
      dispatcher = dialRole('api', options.identity, { connections: 1 })
    }
    if (!closed) timer = setTimeout(() => void turn(), options.pollMs ?? POLL_MS)
  }
  void turn()
  return {
    close: () => {
      closed = true
      clearTimeout(timer)
      void dispatcher.destroy().catch(() => undefined)
    },
  }
}
