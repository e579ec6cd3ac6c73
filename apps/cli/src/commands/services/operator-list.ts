import { ClientError, type CloudClient } from '@bloomery/client'
import type { Context } from '../../context.js'

/** A list that operators work off: what it shows, and what can be done about each of its rows. */
interface OperatorList<Row> {
  /** `bloom <verb>` */
  readonly verb: string
  readonly path: string
  /** Said where there is nothing. */
  readonly none: string
  readonly columns: readonly string[]
  readonly row: (row: Row) => readonly string[]
  /** Said below the rows. */
  readonly then: string
  readonly actions: Readonly<Record<string, (client: CloudClient, path: string) => Promise<unknown>>>
}

/** The command for it: shows the rows, or does something about one. */
export const operatorList =
  <Row>(list: OperatorList<Row>) =>
  async (context: Context, action: string | undefined, guid: string | undefined): Promise<void> => {
    const { client, terminal } = context
    const { verb, path, actions } = list
    if (action === undefined || action === 'list') return show(context, list)
    const act = Object.hasOwn(actions, action) ? actions[action] : undefined
    if (!act) {
      const known = ['list', ...Object.keys(actions)].join(', ')
      throw new ClientError('bad-argument', `'${action}' is no action of ${verb}; there are: ${known}`)
    }
    if (guid === undefined) throw new ClientError('bad-argument', `Which one? See: bloom ${verb}`)
    await act(client, `${path}/${encodeURIComponent(guid)}`)
    terminal.ok()
  }

async function show<Row>({ client, terminal }: Context, { path, none, columns, row, then }: OperatorList<Row>): Promise<void> {
  const { total, resources } = await client.get<{ total: number; resources: readonly Row[] }>(path)
  if (resources.length === 0) return terminal.line(none)
  terminal.table(columns, resources.map(row))
  if (total > resources.length) terminal.line(`\n${total - resources.length} more.`)
  terminal.line(`\n${then}`)
}
