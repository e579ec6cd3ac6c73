import { CfError } from '@bloomery/contracts'
import type { ListQuery } from './lists.js'

/** Which fields of which resources `fields[…]` may name. */
export type KnownFields = Readonly<Record<string, readonly string[]>>

/** Refuses fields that a resource does not have. */
export function requireKnownFields({ fields }: ListQuery, allowed: KnownFields): void {
  for (const [resource, asked] of fields) {
    const known = allowed[resource] ?? []
    const unknown = [...asked].filter((name) => !known.includes(name))
    if (unknown.length > 0)
      throw new CfError(
        'BadQueryParameter',
        `The query parameter is invalid: Fields ${unknown.map((name) => `'${name}'`).join(', ')} of '${resource}' cannot be asked for. Valid values are: ${known.map((name) => `'${name}'`).join(', ')}`,
      )
  }
}

/** One part of `included`, with just the fields that were asked for; nothing where none were. Each row is named once. */
export function includedFields<Row extends { readonly guid: string }>(
  { fields }: ListQuery,
  resource: string,
  as: string,
  rows: () => readonly Row[],
): Record<string, readonly Partial<Row>[]> {
  const asked = fields.get(resource)
  if (!asked) return {}
  const once = new Map(rows().map((row) => [row.guid, row]))
  return { [as]: [...once.values()].map((row) => pick(asked, row)) }
}

const pick = <Row extends object>(asked: ReadonlySet<string>, whole: Row): Partial<Row> =>
  Object.fromEntries(
    Object.entries(whole).filter(([name]) => [...asked].some((each) => each === name || each.startsWith(`${name}.`))),
  ) as Partial<Row>
