import { type LogEntry, recentLogs, tailLogs } from '@bloomery/client'
import type { Context } from '../context.js'

export async function logs(
  context: Context,
  name: string,
  flags: { readonly recent?: boolean },
  signal: AbortSignal,
): Promise<void> {
  const { client, terminal } = context
  const app = await context.app(name)
  context.announce(`Retrieving logs for app ${terminal.name(name)}`)
  if (flags.recent) {
    for (const entry of await recentLogs(client, app.guid)) print(context, entry)
    return
  }
  const onFailure = (error: unknown): void => terminal.warn(error instanceof Error ? error.message : String(error))
  for await (const entry of tailLogs(client, app.guid, { signal, onFailure })) print(context, entry)
}

function print({ terminal }: Context, { timestamp, sourceType, instanceId, stream, text }: LogEntry): void {
  const source = instanceId === '' ? sourceType : `${sourceType}/${instanceId}`
  const head = terminal.style('bold', `   ${localTime(timestamp)} [${source}] ${stream}`)
  for (const line of text.replace(/[\r\n]+$/, '').split('\n')) {
    terminal.line(`${head} ${stream === 'ERR' ? terminal.style('red', line) : line}`)
  }
}

/** 2006-01-02T15:04:05.00-0700, in the local time zone. */
export function localTime(nanoseconds: bigint): string {
  const date = new Date(Number(nanoseconds / 1_000_000n))
  const offset = -date.getTimezoneOffset()
  const local = new Date(date.getTime() + offset * 60_000).toISOString().slice(0, 22)
  const two = (value: number): string => String(Math.trunc(Math.abs(value))).padStart(2, '0')
  return `${local}${offset < 0 ? '-' : '+'}${two(offset / 60)}${two(offset % 60)}`
}
