import type { FastifyInstance, FastifyRequest } from 'fastify'
import { CfError } from '@bloomery/contracts'
import type { Context } from '../http/context.js'
import { hostsOf } from '../http/base-url.js'
import { authorizationRoutes } from './authorization-routes.js'
import { clientRoutes } from './client-routes.js'
import { authenticateClient, clientCredentials } from './clients.js'
import { grant, type TokenForm } from './grants.js'
import { answerOauthErrors, OauthError } from './oauth-error.js'
import type { SigningKeys } from './signing-keys.js'
import type { Tokens } from './tokens.js'
import { userRoutes } from './user-routes.js'

/** UAA's wire surface: what the client needs to log in and to manage users. */
export function oauthRoutes(root: FastifyInstance, context: Context, tokens: Tokens, keys: SigningKeys): void {
  void root.register(async (app) => {
    answerOauthErrors(app, context.log)
    tokenRoutes(app, context, tokens, keys)
    userRoutes(app, context, tokens)
    clientRoutes(app, context)
    authorizationRoutes(app, context, tokens)
  })
}

function tokenRoutes(app: FastifyInstance, context: Context, tokens: Tokens, keys: SigningKeys): void {
  const { db } = context
  const open = { config: { permission: 'public' } } as const

  const loginInfo = async (request: FastifyRequest) => {
    const { login, uaa } = hostsOf(request, context.settings)
    return {
      app: { version: '77.0.0' },
      links: { uaa, login, passwd: `${login}/forgot_password`, register: `${login}/create_account` },
      zone_name: 'uaa',
      entityID: login,
      commit_id: 'bloomery',
      prompts: {
        username: ['text', 'Email'],
        password: ['password', 'Password'],
        passcode: ['password', 'One Time Code ( this platform has no single sign-on: use a password )'],
      },
    }
  }
  app.get('/login', open, loginInfo)
  app.get('/info', open, loginInfo)

  app.post('/oauth/token', open, async (request, reply) => {
    const form = formOf(request)
    const client = await authenticateClient(db, clientCredentials(request, form))
    const { login_hint: loginHint } = request.query as { login_hint?: string }
    const answer = await grant({ db, tokens, now: context.now }, client, form, loginHint)
    return reply.header('cache-control', 'no-store').send(answer)
  })

  app.get('/token_keys', open, async () => ({ keys: (await keys.publicKeys()).map((jwk) => ({ ...jwk, use: 'sig' })) }))
  app.get('/token_key', open, async () => {
    const { kid } = await keys.signer()
    return (await keys.publicKeys()).find((jwk) => jwk.kid === kid)
  })

  app.post('/check_token', open, async (request) => {
    const form = formOf(request)
    const client = await authenticateClient(db, clientCredentials(request, form))
    // The client `cf` has no secret; whoever may look into tokens proves to be somebody.
    if (client.secretHash === null) throw new OauthError('insufficient_scope', 'This client may not check tokens.')
    const token = form['token'] ?? ''
    try {
      await tokens.verify(token)
      const { use: _use, ...claims } = await tokens.read(token, 'access')
      return claims
    } catch (error) {
      throw error instanceof CfError
        ? new OauthError('invalid_token', 'The token is expired, was revoked or is not ours.')
        : error
    }
  })

  app.delete<{ Params: { jti: string } }>('/oauth/token/revoke/:jti', { config: { permission: 'token' } }, async (request) => {
    const { jti } = request.params
    const token = (request.headers.authorization ?? '').replace(/^bearer /i, '')
    const own = await tokens.read(token, 'access')
    const ofOwnUser = await db.refreshToken.findFirst({ where: { jti, userGuid: request.principal.guid } })
    if (own.jti !== jti && !ofOwnUser && !request.principal.scopes.has('uaa.admin'))
      throw new OauthError('insufficient_scope', 'Only one’s own tokens can be revoked.')
    await tokens.revoke(jti)
    return { status: 'ok' }
  })

  const userInfo = async (request: FastifyRequest) => {
    const user = await db.user.findUnique({ where: { guid: request.principal.guid } })
    if (!user) throw new OauthError('invalid_token', 'The token is of no user.')
    return {
      user_id: user.guid,
      sub: user.guid,
      user_name: user.username,
      origin: user.origin,
      name: [user.givenName, user.familyName].filter((part) => part !== null).join(' ') || user.username,
      given_name: user.givenName,
      family_name: user.familyName,
      email: user.email ?? user.username,
      email_verified: false,
    }
  }
  app.get('/userinfo', { config: { permission: 'openid' } }, userInfo)
  app.post('/userinfo', { config: { permission: 'openid' } }, userInfo)
}

function formOf(request: FastifyRequest): TokenForm {
  const body: unknown = request.body
  if (typeof body !== 'object' || body === null) return {}
  return Object.fromEntries(Object.entries(body).filter((entry): entry is [string, string] => typeof entry[1] === 'string'))
}
