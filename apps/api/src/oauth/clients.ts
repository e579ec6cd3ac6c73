import type { FastifyRequest } from 'fastify'
import type { Database, OauthClient } from '@bloomery/database'
import { OauthError } from './oauth-error.js'
import { passwordMatches } from './passwords.js'

export interface ClientCredentials {
  readonly clientId: string
  readonly secret: string
}

/** Client id and secret from the Basic header, else from the form, as the client sends one or the other. */
export function clientCredentials(
  request: FastifyRequest,
  form: Readonly<Record<string, string>>,
): ClientCredentials | undefined {
  const basic = /^basic (.+)$/i.exec(request.headers.authorization ?? '')?.[1]
  if (basic !== undefined) {
    const [clientId = '', ...rest] = Buffer.from(basic, 'base64').toString('utf8').split(':')
    return { clientId: decode(clientId), secret: decode(rest.join(':')) }
  }
  const { client_id: clientId, client_secret: secret } = form
  return clientId === undefined ? undefined : { clientId, secret: secret ?? '' }
}

export async function authenticateClient(db: Database, credentials: ClientCredentials | undefined): Promise<OauthClient> {
  const client = credentials && (await db.oauthClient.findUnique({ where: { clientId: credentials.clientId } }))
  const isPublic = client?.secretHash === null
  const matches = isPublic ? credentials?.secret === '' : await passwordMatches(credentials?.secret ?? '', client?.secretHash)
  if (!client || !matches) throw new OauthError('invalid_client', 'Bad client credentials')
  return client
}

// Both parts may be percent-encoded; a lone % is meant as it stands.
function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
