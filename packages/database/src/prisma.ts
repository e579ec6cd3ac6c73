import { PrismaPg } from '@prisma/adapter-pg'
import { Prisma, PrismaClient } from './generated/client.js'

export type Database = PrismaClient
/** Inside `database.$transaction(async (tx) => …)`. */
export type Transaction = Prisma.TransactionClient

/** A burst of requests waits for its turn at the pool; by default all but the first seconds of it would fail. */
const PATIENCE = { maxWait: 60_000, timeout: 30_000 } as const

/** The Prisma client over the pg driver; `onQuery` is told each statement. Meant for the api role; others use `@bloomery/database/sql` and stay small. */
export function createDatabase(url: string, options: { max?: number; onQuery?: (text: string) => void } = {}): Database {
  const adapter = new PrismaPg({ connectionString: url, max: options.max ?? 8 })
  const { onQuery } = options
  if (!onQuery) return new PrismaClient({ adapter, transactionOptions: PATIENCE })
  const client = new PrismaClient({ adapter, transactionOptions: PATIENCE, log: [{ emit: 'event', level: 'query' }] })
  client.$on('query', ({ query }) => onQuery(query))
  return client
}

/** True for a violated unique index; `fields` names columns or the index. */
export function isUniqueViolation(error: unknown): error is Prisma.PrismaClientKnownRequestError {
  return error instanceof Prisma.PrismaClientKnownRequestError && error.code === 'P2002'
}
export { Prisma }
