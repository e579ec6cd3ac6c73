import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { withPostgres } from '@bloomery/testing'
import { rows, sql } from './sql.js'

const PRISMA = fileURLToPath(new URL('../../../prisma', import.meta.url))
const TYPES: Record<string, string> = {
  String: 'text',
  Int: 'integer',
  BigInt: 'bigint',
  Boolean: 'boolean',
  DateTime: 'timestamp with time zone',
  Json: 'jsonb',
}

interface Column {
  readonly table: string
  readonly column: string
  readonly type: string
  readonly nullable: boolean
}

/** The columns that schema.prisma promises. Its form is ours and regular; relations are no columns. */
function promisedColumns(): Column[] {
  const models = [...readFileSync(join(PRISMA, 'schema.prisma'), 'utf8').matchAll(/^model (\w+) \{\n([\s\S]*?)^\}/gm)].map(
    ([, name = '', body = '']) => ({
      name,
      lines: body
        .split('\n')
        .map((line) => line.trim())
        .filter((line) => line && !line.startsWith('//')),
    }),
  )
  const names = new Set(models.map(({ name }) => name))
  return models.flatMap(({ lines }) => {
    const table = lines.map((line) => /^@@map\("(.*)"\)/.exec(line)?.[1]).find(Boolean) ?? ''
    return lines.flatMap((line): Column[] => {
      const [, field = '', written = '', rest = ''] = /^(\w+)\s+(\S+)\s*(.*)$/.exec(line) ?? []
      const base = written.replace(/[[\]?]/g, '')
      if (line.startsWith('@@') || names.has(base)) return []
      return [
        {
          table,
          column: /@map\("(.*?)"\)/.exec(rest)?.[1] ?? field,
          type: written.endsWith('[]') ? 'ARRAY' : (TYPES[base] ?? base),
          nullable: written.endsWith('?'),
        },
      ]
    })
  })
}
const inOrder = (columns: readonly Column[]) =>
  [...columns].sort((a, b) => (`${a.table}.${a.column}` < `${b.table}.${b.column}` ? -1 : 1))

describe('the migrations', () => {
  const database = withPostgres()

  it('give exactly the tables and columns of schema.prisma', async () => {
    const found = await rows<Column>(
      database.pool,
      sql`SELECT table_name AS table, column_name AS column, data_type AS type, is_nullable = 'YES' AS nullable
          FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> '_prisma_migrations'`,
    )
    expect(inOrder(found)).toEqual(inOrder(promisedColumns()))
  })
})
