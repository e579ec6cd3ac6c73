import type { FastifyRequest } from 'fastify'
import { CfError } from '@bloomery/contracts'
import type { Database, Prisma } from '@bloomery/database'
import { parseListQuery, presentList, readPage } from '../../http/lists.js'
import { presentUser } from './presenter.js'

/** A list of users with the filters that all such lists have. */
export async function listUsers(db: Database, request: FastifyRequest, scope: Prisma.UserWhereInput) {
  const query = parseListQuery(request, { filters: ['usernames', 'partial_usernames', 'origins'] })
  const usernames = query.values('usernames')
  const partial = query.values('partial_usernames')
  const origins = query.values('origins')
  if (origins && !usernames && !partial)
    throw bad('Origins filter cannot be provided without usernames or partial_usernames filter.')
  if (usernames && partial) throw bad('Usernames filter cannot be provided with both usernames and partial_usernames filter.')
  const where: Prisma.UserWhereInput = {
    AND: [
      scope,
      ...query.common,
      ...(usernames ? [{ OR: usernames.map((name) => ({ username: { equals: name, mode: 'insensitive' as const } })) }] : []),
      ...(partial ? [{ OR: partial.map((name) => ({ username: { contains: name, mode: 'insensitive' as const } })) }] : []),
      ...(origins ? [{ origin: { in: origins } }] : []),
    ],
  }
  const page = await readPage(
    query,
    (window) => db.user.findMany({ where, orderBy: query.orderBy, ...window }),
    () => db.user.count({ where }),
  )
  return presentList(request, query, page, (user) => presentUser(user, request.baseUrl))
}

const bad = (detail: string): CfError => new CfError('BadQueryParameter', `The query parameter is invalid: ${detail}`)
