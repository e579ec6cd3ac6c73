import { createHash, timingSafeEqual } from 'node:crypto'
import { decodeIdentity, IDENTITY_HEADER, REQUEST_IDENTITY_HEADER, VERSION_HEADER } from '@bloomery/osb/protocol'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { OsbError } from './errors.js'

export interface Account {
  readonly username: string
  readonly password: string
}

/** Refuses whoever does not know the password. */
export function authenticate(request: FastifyRequest, account: Account): void {
  const [scheme, encoded] = (request.headers.authorization ?? '').split(' ')
  const given = scheme?.toLowerCase() === 'basic' ? Buffer.from(encoded ?? '', 'base64').toString() : ''
  if (!sameText(given, `${account.username}:${account.password}`))
    throw new OsbError(401, "User name or password is not this broker's.")
}

/** Answers take the same time whatever of it is right. */
function sameText(a: string, b: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest()
  return timingSafeEqual(digest(a), digest(b))
}

/** The headers that the specification asks for. */
export function checkHeaders(request: FastifyRequest, reply: FastifyReply): void {
  const version = request.headers[VERSION_HEADER]
  if (typeof version !== 'string') throw new OsbError(400, 'The header X-Broker-API-Version is missing; this broker speaks 2.17.')
  if (!/^2\.\d+$/.test(version)) throw new OsbError(412, 'This broker speaks version 2.17 of the Open Service Broker API.')
  const identity = request.headers[IDENTITY_HEADER]
  if (identity !== undefined && (typeof identity !== 'string' || decodeIdentity(identity) === undefined))
    throw new OsbError(400, 'The header X-Broker-API-Originating-Identity is malformed.')
  const asked = request.headers[REQUEST_IDENTITY_HEADER]
  if (typeof asked === 'string') void reply.header(REQUEST_IDENTITY_HEADER, asked)
}
