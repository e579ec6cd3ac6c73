import { parseLogRate, parseMegabytes } from '@bloomery/client'
import type { Context } from '../context.js'
import { showApp } from '../show-app.js'
import { waitAndShow } from './start.js'

export interface ScaleFlags {
  readonly instances?: number
  readonly memory?: string
  readonly disk?: string
  readonly logRateLimit?: string
  readonly process?: string
  readonly force?: boolean
}

export async function scaleApp(context: Context, name: string, flags: ScaleFlags): Promise<void> {
  const { client, terminal } = context
  const { instances, memory, disk, logRateLimit, process = 'web' } = flags
  const size = {
    ...(memory === undefined ? {} : { memory_in_mb: parseMegabytes(memory) }),
    ...(disk === undefined ? {} : { disk_in_mb: parseMegabytes(disk) }),
    ...(logRateLimit === undefined ? {} : { log_rate_limit_in_bytes_per_second: parseLogRate(logRateLimit) }),
  }
  const resized = Object.keys(size).length > 0
  const changed = resized || instances !== undefined
  const app = await context.app(name)
  context.announce(`${changed ? 'Scaling' : 'Showing current scale of'} app ${terminal.name(name)}`)
  if (!changed) return showApp(context, app)
  if (resized && app.state === 'STARTED' && !flags.force) {
    const agreed = await terminal.confirm(`This will cause the app to restart. Really scale ${name}?`, '-f')
    if (!agreed) return terminal.line('Scaling cancelled')
  }
  await client.post(`/v3/apps/${app.guid}/processes/${encodeURIComponent(process)}/actions/scale`, {
    ...size,
    ...(instances === undefined ? {} : { instances }),
  })
  if (app.state !== 'STARTED') return showApp(context, app)
  if (resized) {
    await client.post(`/v3/apps/${app.guid}/actions/stop`)
    await client.post(`/v3/apps/${app.guid}/actions/start`)
  }
  await waitAndShow(context, app)
}
