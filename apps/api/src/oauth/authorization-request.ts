import type { OauthClient } from '@bloomery/database'
import { OauthError } from './oauth-error.js'

/** What a client sends a browser with, once it is known to be the client's own. */
export interface AuthorizationRequest {
  readonly client: OauthClient
  readonly redirectUri: string
  readonly state: string | undefined
  readonly scopes: readonly string[]
  /** Of PKCE, S256. */
  readonly codeChallenge: string | undefined
  readonly nonce: string | undefined
  readonly prompt: 'none' | 'login' | undefined
}
export type AuthorizationParameters = Readonly<Record<string, string>>

/** A fault that the client may be told of: the browser goes back there with it. */
export class AuthorizationRefusal extends Error {
  override readonly name = 'AuthorizationRefusal'
  constructor(
    readonly kind: 'invalid_request' | 'invalid_scope' | 'unsupported_response_type' | 'login_required' | 'interaction_required',
    description: string,
    readonly redirectUri: string,
    readonly state: string | undefined,
  ) {
    super(description)
  }
}

/**
 * Judges an authorization request (RFC 6749 4.1, RFC 7636). Throws OauthError where the browser must not be sent anywhere: for an unknown
 * client, or an address that is not, to the letter, one that the client has registered.
 */
export function readAuthorizationRequest(client: OauthClient | null, parameters: AuthorizationParameters): AuthorizationRequest {
  if (!client || !client.grantTypes.includes('authorization_code'))
    throw new OauthError('invalid_request', `There is no client '${parameters['client_id'] ?? ''}' that users can be sent by.`)
  const [only, ...others] = client.redirectUris
  const redirectUri = parameters['redirect_uri'] ?? (others.length === 0 ? only : undefined)
  if (redirectUri === undefined || !client.redirectUris.includes(redirectUri))
    throw new OauthError('invalid_request', `The redirect_uri is not one that the client '${client.clientId}' has registered.`)
  if (!URL.canParse(redirectUri) || !/^https?:$/.test(new URL(redirectUri).protocol))
    throw new OauthError('invalid_request', `The client '${client.clientId}' has registered an address that is none of the web.`)
  const { state, nonce, prompt } = parameters
  const refuse = (kind: AuthorizationRefusal['kind'], description: string) =>
    new AuthorizationRefusal(kind, description, redirectUri, state)
  if (parameters['response_type'] !== 'code')
    throw refuse('unsupported_response_type', 'This platform gives codes: response_type=code.')
  const asked = (parameters['scope'] ?? '').split(' ').filter((scope) => scope !== '')
  const foreign = asked.filter((scope) => !client.scopes.includes(scope))
  if (foreign.length > 0) throw refuse('invalid_scope', `The client may not ask for ${foreign.join(', ')}.`)
  const { code_challenge: codeChallenge, code_challenge_method: method = 'plain' } = parameters
  if (codeChallenge !== undefined && (method !== 'S256' || !/^[\w-]{43}$/.test(codeChallenge)))
    throw refuse('invalid_request', 'A code_challenge has the method S256 and 43 characters here.')
  return {
    client,
    redirectUri,
    state,
    scopes: asked.length > 0 ? [...new Set(asked)] : client.scopes,
    codeChallenge,
    nonce,
    prompt: prompt === 'none' || prompt === 'login' ? prompt : undefined,
  }
}

/** Where the browser goes back to, with more in its query. */
export function backTo(redirectUri: string, state: string | undefined, more: Readonly<Record<string, string>>): string {
  const url = new URL(redirectUri)
  for (const [name, value] of Object.entries({ ...more, ...(state === undefined ? {} : { state }) }))
    url.searchParams.set(name, value)
  return url.href
}
