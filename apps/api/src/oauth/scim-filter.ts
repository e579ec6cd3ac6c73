import type { Prisma } from '@bloomery/database'
import { OauthError } from './oauth-error.js'

const CLAUSE = /\s*(?<name>[A-Za-z.]+)\s+eq\s+"(?<value>(?:[^"\\]|\\.)*)"\s*(?:(?<and>and)\s+|$)/iy

/** Reads `userName eq "x" and origin eq "y"`: the part of SCIM's filters that clients of CF use. */
export function parseScimFilter(text: string): Prisma.UserWhereInput[] {
  const conditions: Prisma.UserWhereInput[] = []
  CLAUSE.lastIndex = 0
  for (let more = text.trim() !== ''; more;) {
    const groups = CLAUSE.exec(text)?.groups
    const name = groups?.['name']?.toLowerCase()
    const value = (groups?.['value'] ?? '').replaceAll(/\\(.)/g, '$1')
    if (name === 'username') conditions.push({ username: { equals: value, mode: 'insensitive' } })
    else if (name === 'origin') conditions.push({ origin: value })
    else if (name === 'id') conditions.push({ guid: value })
    else throw new OauthError('invalid_request', `Invalid filter expression: [${text}]`)
    more = groups?.['and'] !== undefined
  }
  return conditions
}
