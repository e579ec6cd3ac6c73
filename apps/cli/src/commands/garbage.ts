import { formatSize } from '@bloomery/client'
import type { Context } from '../context.js'

interface Listed {
  readonly total: { readonly blobs: number; readonly leftovers: number; readonly bytes: number }
  readonly resources: readonly {
    readonly key: string
    readonly bytes: number
    readonly reason: string
    readonly app: { readonly name: string } | null
    /** On which machine it lies; null in the blob store. */
    readonly machine: string | null
  }[]
}

export async function collectGarbage({ client, terminal }: Context, flags: { readonly dryRun?: boolean }): Promise<void> {
  const path = '/bloomery/v1/garbage'
  const { total, resources } = flags.dryRun
    ? await client.get<Listed>(path)
    : await client.post<Listed>(`${path}/actions/collect`, undefined)
  if (resources.length === 0) return terminal.line('Nothing is kept without need.')
  terminal.table(
    ['size', 'bits', 'app', 'machine', 'reason'],
    resources.map(({ key, bytes, reason, app, machine }) => [formatSize(bytes), key, app?.name ?? '', machine ?? '', reason]),
  )
  const counted = (count: number, one: string, many: string): string => `${count} ${count === 1 ? one : many}`
  const what = `${counted(total.blobs, 'blob', 'blobs')} and ${counted(total.leftovers, 'leftover', 'leftovers')} on machines, ${formatSize(total.bytes)}`
  if (flags.dryRun) return terminal.line(`\nWould delete ${what}. Delete them with: bloom gc`)
  terminal.line(`\nDeleted ${what}.`)
  if (total.leftovers > 0) terminal.line('Machines delete theirs within seconds; what is needed again by then stays.')
}
