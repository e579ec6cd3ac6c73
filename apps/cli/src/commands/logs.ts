import { type LogEntry, newestLogTime, recentLogs, tailLogs } from '@bloomery/client'
import type { Context } from '../context.js'
import { localTime } from '../local-time.js'

/** What came just before shows that the log is alive, and bridges the moment until the first read; as cf has it. */
const BACKWARD_NS = 1_000_000_000n

export async function logs(context: Context, name: string, flags: { readonly recent?: boolean }): Promise<void> {
  const { client, terminal, surroundings } = context
  const { signal } = surroundings
  const app = await context.app(name)
  context.announce(`Retrieving logs for app ${terminal.name(name)}`)
  if (flags.recent) {
    for (const entry of await recentLogs(client, app.guid)) print(context, entry)
    return
  }
  let interrupted = false
  const onFailure = (error: unknown): void => {
    interrupted = true
    terminal.warn(`${error instanceof Error ? error.message : String(error)}\nTrying again...`)
  }
  const newest = await newestLogTime(client, app.guid, signal)
  const from = newest === 0n ? 1n : newest - BACKWARD_NS
  for await (const entry of tailLogs(client, app.guid, { from, signal, onFailure })) {
    if (interrupted) terminal.warn('The log is read again.')
    interrupted = false
    print(context, entry)
  }
}

function print({ terminal }: Context, { timestamp, sourceType, instanceId, stream, text }: LogEntry): void {
  const source = instanceId === '' ? sourceType : `${sourceType}/${instanceId}`
  const head = terminal.style('bold', `   ${localTime(timestamp)} [${source}] ${stream}`)
  for (const line of text.replace(/[\r\n]+$/, '').split('\n')) {
    terminal.line(`${head} ${stream === 'ERR' ? terminal.style('red', line) : line}`)
  }
}
