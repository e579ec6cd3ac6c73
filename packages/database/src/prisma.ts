import { PrismaPg } from '@prisma/adapter-pg'
import { Prisma, PrismaClient } from './generated/client.js'

export type Database = PrismaClient
/** Inside `database.$transaction(async (tx) => …)`. */
export type Transaction = Prisma.TransactionClient

/** The Prisma client over the pg driver. Meant for the api role; others use `@bloomery/database/sql` and stay small. */
export function createDatabase(url: string, options: { max?: number } = {}): Database {
  return new PrismaClient({ adapter: new PrismaPg({ connectionString: url, max: options.max ?? 8 }) })
}

/** True for a violated unique index; `fields` names columns or the index. */
export function isUniqueViolation(error: unknown): error is Prisma.PrismaClientKnownRequestError {
  return error instanceof Prisma.PrismaClientKnownRequestError && error.code === 'P2002'
}
export { Prisma }
