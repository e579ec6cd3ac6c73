import type { Readable } from 'node:stream'
import type { Logger } from '@bloomery/telemetry'
import type Docker from 'dockerode'
import { INSTALLATION_LABEL, NAME_LABEL, type Names } from './names.js'

const FIRST_RETRY_MS = 250
const LAST_RETRY_MS = 5000

/** Hears which container ended; of undefined that any may have. */
export type EndListener = (name: string | undefined) => void

/** Follows the engine's events for as long as anybody listens, over restarts of the engine; each return counts as a change of all. */
export class EventWatch {
  private readonly listeners = new Set<EndListener>()
  private stream: Readable | undefined
  private retry: NodeJS.Timeout | undefined
  private retryMs = FIRST_RETRY_MS
  private active = false

  constructor(
    private readonly docker: Docker,
    private readonly names: Names,
    private readonly log: Logger,
  ) {}

  add(listener: EndListener): () => void {
    this.listeners.add(listener)
    if (!this.active) {
      this.active = true
      void this.follow()
    }
    return () => {
      this.listeners.delete(listener)
      if (this.listeners.size === 0) this.close()
    }
  }

  close(): void {
    this.active = false
    clearTimeout(this.retry)
    this.stream?.destroy()
  }

  private async follow(): Promise<void> {
    try {
      const filters = { type: ['container'], event: ['die', 'oom'], label: [`${INSTALLATION_LABEL}=${this.names.installation}`] }
      const stream = (await this.docker.getEvents({ filters: JSON.stringify(filters) })) as Readable
      if (!this.active) return void stream.destroy()
      this.stream = stream
      this.retryMs = FIRST_RETRY_MS
      let partial = ''
      stream.setEncoding('utf8')
      stream.on('data', (chunk: string) => {
        const lines = (partial + chunk).split('\n')
        partial = lines.pop() ?? ''
        for (const line of lines) this.tell(nameIn(line))
      })
      stream.on('error', (error) => this.log.debug({ err: error }, 'the event stream of the engine broke'))
      stream.on('close', () => this.again())
      this.tell(undefined)
    } catch (error) {
      this.log.debug({ err: error }, 'the engine gives no events')
      this.again()
    }
  }

  private again(): void {
    this.stream = undefined
    if (!this.active) return
    this.retry = setTimeout(() => void this.follow(), this.retryMs)
    this.retryMs = Math.min(LAST_RETRY_MS, this.retryMs * 2)
  }

  private tell(name: string | undefined): void {
    for (const listener of [...this.listeners]) listener(name)
  }
}

function nameIn(line: string): string | undefined {
  try {
    const event = JSON.parse(line) as { Actor?: { Attributes?: Record<string, string> } }
    return event.Actor?.Attributes?.[NAME_LABEL]
  } catch {
    return undefined // cut off in the middle: whoever waits looks for itself
  }
}
