import { randomBytes } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Database, User } from '@bloomery/database'
import { digestOf } from './authorization-codes.js'

const SESSION_SECONDS = 8 * 3600
const COOKIE = 'bloomery_login'

/** A browser's login. */
export interface LoginSession {
  readonly user: User
  /** Stands in the forms of this session's pages, so that no other site's page can send them. */
  readonly formToken: string
}

/** Logs the browser in. */
export async function startSession(
  db: Database,
  request: FastifyRequest,
  reply: FastifyReply,
  user: User,
  now: Date,
): Promise<void> {
  const token = randomBytes(32).toString('base64url')
  await db.loginSession.deleteMany({ where: { expiresAt: { lt: now } } })
  await db.loginSession.create({
    data: { tokenHash: digestOf(token), userGuid: user.guid, expiresAt: new Date(now.getTime() + SESSION_SECONDS * 1_000) },
  })
  setCookie(request, reply, token, SESSION_SECONDS)
}

/** Who is logged in with this browser. */
export async function findSession(db: Database, request: FastifyRequest, now: Date): Promise<LoginSession | undefined> {
  const token = cookieOf(request)
  if (token === undefined) return undefined
  const row = await db.loginSession.findUnique({ where: { tokenHash: digestOf(token) }, include: { user: true } })
  if (!row || row.expiresAt <= now || !row.user.active) return undefined
  return { user: row.user, formToken: digestOf(`form:${token}`) }
}

export async function endSession(db: Database, request: FastifyRequest, reply: FastifyReply): Promise<void> {
  const token = cookieOf(request)
  if (token !== undefined) await db.loginSession.deleteMany({ where: { tokenHash: digestOf(token) } })
  setCookie(request, reply, '', 0)
}

const cookieOf = ({ headers }: FastifyRequest): string | undefined =>
  new RegExp(`(?:^|; *)${COOKIE}=([\\w-]+)`).exec(headers.cookie ?? '')?.[1]

function setCookie(request: FastifyRequest, reply: FastifyReply, value: string, seconds: number): void {
  const secure = request.protocol === 'https' ? '; Secure' : ''
  reply.header('set-cookie', `${COOKIE}=${value}; Path=/; Max-Age=${seconds}; HttpOnly; SameSite=Lax${secure}`)
}
