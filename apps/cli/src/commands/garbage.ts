import { formatSize } from '@bloomery/client'
import type { Context } from '../context.js'

interface Listed {
  readonly total: { readonly blobs: number; readonly bytes: number }
  readonly resources: readonly {
    readonly key: string
    readonly bytes: number
    readonly reason: string
    readonly app: { readonly name: string } | null
  }[]
}

export async function collectGarbage({ client, terminal }: Context, flags: { readonly dryRun?: boolean }): Promise<void> {
  const path = '/bloomery/v1/garbage'
  const { total, resources } = flags.dryRun
    ? await client.get<Listed>(path)
    : await client.post<Listed>(`${path}/actions/collect`, undefined)
  if (resources.length === 0) return terminal.line('Nothing is kept without need.')
  terminal.table(
    ['size', 'bits', 'app', 'reason'],
    resources.map(({ key, bytes, reason, app }) => [formatSize(bytes), key, app?.name ?? '', reason]),
  )
  const what = `${total.blobs} ${total.blobs === 1 ? 'blob' : 'blobs'}, ${formatSize(total.bytes)}`
  terminal.line(flags.dryRun ? `\nWould delete ${what}. Delete them with: bloom gc` : `\nDeleted ${what}.`)
}
