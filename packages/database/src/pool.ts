import pg from 'pg'

// int8 as bigint: byte counts, tokens and revisions outgrow numbers. For our own pools alone: Prisma's driver parses for itself.
const types: pg.CustomTypesConfig = {
  getTypeParser: (type, format) =>
    type === pg.types.builtins.INT8 && format !== 'binary'
      ? (value: string) => BigInt(value)
      : (pg.types.getTypeParser(type, format) as (value: string) => unknown),
}

export type Pool = pg.Pool
export type PoolClient = pg.PoolClient

/**
 * A pool for hand-written SQL. Accepts `postgresql://…` and unix sockets (`postgresql:///db?host=/folder&port=…`).
 * `waitMs`: how long a query waits for its turn and its connection (5 s).
 */
export function createPool(url: string, options: { max?: number; applicationName?: string; waitMs?: number } = {}): Pool {
  const pool = new pg.Pool({
    connectionString: url,
    types,
    max: options.max ?? 6,
    application_name: options.applicationName ?? 'bloomery',
    idleTimeoutMillis: 30_000,
    connectionTimeoutMillis: options.waitMs ?? 5_000,
  })
  // A broken idle connection is replaced at the next query; without a listener it would end the process.
  pool.on('error', () => undefined)
  // So would one that breaks while it is in use: whoever uses it learns of that from its query.
  pool.on('connect', (client) => client.on('error', () => undefined))
  return pool
}

/** A query with its values kept apart from its text; made by the `sql` tag, nested by interpolation. */
export interface SqlQuery {
  readonly sqlText: readonly string[]
  readonly values: readonly unknown[]
}
const isSqlQuery = (value: unknown): value is SqlQuery => typeof value === 'object' && value !== null && 'sqlText' in value

const append = (parts: string[], text: string): void => {
  parts.push((parts.pop() ?? '') + text)
}

/** Tagged template: values become parameters, nested `sql` fragments are spliced in. */
export function sql(strings: TemplateStringsArray, ...inputs: readonly unknown[]): SqlQuery {
  const sqlText: string[] = [strings[0] ?? '']
  const values: unknown[] = []
  inputs.forEach((input, i) => {
    const after = strings[i + 1] ?? ''
    if (isSqlQuery(input)) {
      append(sqlText, input.sqlText[0] ?? '')
      sqlText.push(...input.sqlText.slice(1))
      values.push(...input.values)
      append(sqlText, after)
    } else {
      values.push(input)
      sqlText.push(after)
    }
  })
  return { sqlText, values }
}

/** Joins fragments, e.g. conditions by ` AND `. An empty list gives `fallback`. */
export function joinSql(parts: readonly SqlQuery[], separator: string, fallback: SqlQuery): SqlQuery {
  const [first, ...rest] = parts
  if (!first) return fallback
  return rest.reduce<SqlQuery>((joined, part) => {
    const sqlText = [...joined.sqlText]
    append(sqlText, separator + (part.sqlText[0] ?? ''))
    return { sqlText: [...sqlText, ...part.sqlText.slice(1)], values: [...joined.values, ...part.values] }
  }, first)
}

export interface Queryable {
  query(text: string, values?: unknown[]): Promise<pg.QueryResult>
}

const toText = (query: SqlQuery): string => query.sqlText.reduce((text, part, i) => (i === 0 ? part : `${text}$${i}${part}`), '')

/** Runs a query; rows come with their column names (snake_case), bigint as bigint, timestamptz as Date. */
export async function rows<T>(on: Queryable, query: SqlQuery): Promise<T[]> {
  return (await on.query(toText(query), [...query.values])).rows as T[]
}

/** Runs a statement and tells how many rows it touched: 0 from a guarded update means that someone was faster. */
export async function execute(on: Queryable, query: SqlQuery): Promise<number> {
  return (await on.query(toText(query), [...query.values])).rowCount ?? 0
}

export async function transaction<T>(pool: Pool, work: (client: PoolClient) => Promise<T>): Promise<T> {
  const client = await pool.connect()
  let broken: Error | undefined
  try {
    await client.query('BEGIN')
    const result = await work(client)
    await client.query('COMMIT')
    return result
  } catch (error) {
    await client.query('ROLLBACK').catch((rollback: unknown) => {
      broken = rollback instanceof Error ? rollback : new Error(String(rollback))
    })
    throw error
  } finally {
    client.release(broken)
  }
}
