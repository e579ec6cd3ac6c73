import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { OauthClient, User } from '@bloomery/database'
import type { Context } from '../http/context.js'
import { hostsOf } from '../http/base-url.js'
import { BROKER_MARK } from './broker-clients.js'
import { issueCode } from './authorization-codes.js'
import { consentPage, faultPage, goodbyePage, loginPage, sendPage, type Asking } from './authorization-page.js'
import {
  AuthorizationRefusal,
  backTo,
  readAuthorizationRequest,
  type AuthorizationParameters,
  type AuthorizationRequest,
} from './authorization-request.js'
import { logIn } from './log-in.js'
import { endSession, findSession, startSession, type LoginSession } from './login-sessions.js'
import { OauthError } from './oauth-error.js'
import { USER_SCOPES } from './scopes.js'
import type { Tokens } from './tokens.js'

/** What of a request goes on with the forms of its pages. */
const CARRIED = [
  'client_id',
  'redirect_uri',
  'response_type',
  'scope',
  'state',
  'nonce',
  'code_challenge',
  'code_challenge_method',
] as const

/** Single sign-on of users in browsers, for the dashboards of service brokers: authorization codes as OAuth 2 and UAA have them. */
export function authorizationRoutes(app: FastifyInstance, { db, now, settings }: Context, tokens: Tokens): void {
  const open = { config: { permission: 'public' } } as const

  app.get('/oauth/authorize', open, async (request, reply) => {
    const parameters = textsOf(request.query)
    if (parameters['client_id'] === 'ssh-proxy')
      throw new OauthError(
        'unsupported_client',
        'This platform does not offer ssh yet. What an app does is told by cf logs APP --recent and cf events APP',
      )
    return guarded(request, reply, async () => {
      const wanted = await read(parameters)
      const session = await findSession(db, request, now())
      if (!session || wanted.prompt === 'login') {
        if (wanted.prompt === 'none') throw refusal(wanted, 'login_required', 'The user is not signed in.')
        return showLogin(reply, wanted, parameters)
      }
      return proceed(reply, wanted, session, parameters)
    })
  })

  app.post('/oauth/authorize', open, async (request, reply) =>
    guarded(request, reply, async () => {
      const form = textsOf(request.body)
      const wanted = await read(form)
      // Another site's page may not sign anybody in; browsers say whose page it is.
      const { origin } = request.headers
      if (origin !== undefined && !(URL.canParse(origin) && new URL(origin).host === request.host))
        throw new OauthError('invalid_request', 'This form was sent by a page of another site.')
      if (form['act'] === 'login') return signIn(request, reply, wanted, form)
      const session = await findSession(db, request, now())
      if (!session || form['form_token'] !== session.formToken) return showLogin(reply, wanted, form)
      switch (form['act']) {
        case 'allow':
          await approve(wanted, session.user)
          return send(reply, wanted, session.user)
        case 'leave':
          await endSession(db, request, reply)
          return showLogin(reply, wanted, form)
        default:
          return reply.redirect(
            backTo(wanted.redirectUri, wanted.state, {
              error: 'access_denied',
              error_description: 'The user has not allowed access.',
            }),
          )
      }
    }),
  )

  const logOut = async (request: FastifyRequest, reply: FastifyReply) => {
    await endSession(db, request, reply)
    return sendPage(reply, 200, goodbyePage())
  }
  app.get('/logout', open, logOut)
  app.get('/logout.do', open, logOut)

  app.get('/.well-known/openid-configuration', open, async (request) => {
    const { login, uaa } = hostsOf(request, settings)
    return {
      issuer: tokens.issuer,
      authorization_endpoint: `${login}/oauth/authorize`,
      token_endpoint: `${uaa}/oauth/token`,
      userinfo_endpoint: `${uaa}/userinfo`,
      jwks_uri: `${uaa}/token_keys`,
      end_session_endpoint: `${login}/logout.do`,
      response_types_supported: ['code'],
      subject_types_supported: ['public'],
      id_token_signing_alg_values_supported: ['ES256'],
      scopes_supported: [...USER_SCOPES],
      token_endpoint_auth_methods_supported: ['client_secret_basic', 'client_secret_post'],
      code_challenge_methods_supported: ['S256'],
    }
  })

  async function read(parameters: AuthorizationParameters): Promise<AuthorizationRequest> {
    const client = await db.oauthClient.findUnique({ where: { clientId: parameters['client_id'] ?? '' } })
    return readAuthorizationRequest(client, parameters)
  }

  /** Faults go back to the client where that is known, and else to the user, as a page. */
  async function guarded(request: FastifyRequest, reply: FastifyReply, work: () => Promise<FastifyReply>): Promise<FastifyReply> {
    try {
      return await work()
    } catch (error) {
      if (error instanceof AuthorizationRefusal)
        return reply.redirect(backTo(error.redirectUri, error.state, { error: error.kind, error_description: error.message }))
      if (error instanceof OauthError && /text\/html/.test(request.headers.accept ?? ''))
        return sendPage(reply, error.status, faultPage(error.message))
      throw error
    }
  }

  async function signIn(
    request: FastifyRequest,
    reply: FastifyReply,
    wanted: AuthorizationRequest,
    form: AuthorizationParameters,
  ): Promise<FastifyReply> {
    const username = form['username'] ?? ''
    try {
      const user = await logIn(db, { username, password: form['password'] ?? '', origin: 'uaa' }, now())
      await startSession(db, request, reply, user, now())
    } catch (error) {
      if (!(error instanceof OauthError)) throw error
      const message = error.message === 'Bad credentials' ? 'User name or password is wrong.' : error.message
      return showLogin(reply, wanted, form, { message, username })
    }
    // The page that asks for consent is fetched anew: reloading it sends no password.
    return reply.redirect(`/oauth/authorize?${new URLSearchParams(carried(form))}`, 303)
  }

  async function proceed(
    reply: FastifyReply,
    wanted: AuthorizationRequest,
    session: LoginSession,
    parameters: AuthorizationParameters,
  ): Promise<FastifyReply> {
    const scopes = grantable(wanted, session.user)
    if (scopes.length === 0) throw refusal(wanted, 'invalid_scope', 'The user has none of these rights.')
    const approval = await db.oauthApproval.findUnique({
      where: { userGuid_clientId: { userGuid: session.user.guid, clientId: wanted.client.clientId } },
    })
    if (scopes.every((scope) => approval?.scopes.includes(scope))) return send(reply, wanted, session.user)
    if (wanted.prompt === 'none') throw refusal(wanted, 'interaction_required', 'The user has not allowed this yet.')
    const hidden = { ...carried(parameters), form_token: session.formToken }
    const html = consentPage(await askingOf(wanted.client), hidden, session.user.username ?? '', scopes)
    return sendPage(reply, 200, html)
  }

  async function approve(wanted: AuthorizationRequest, user: User): Promise<void> {
    const place = { userGuid: user.guid, clientId: wanted.client.clientId }
    const before = await db.oauthApproval.findUnique({ where: { userGuid_clientId: place } })
    const scopes = [...new Set([...(before?.scopes ?? []), ...grantable(wanted, user)])]
    await db.oauthApproval.upsert({ where: { userGuid_clientId: place }, create: { ...place, scopes }, update: { scopes } })
  }

  /** Back to the client, with a code. */
  async function send(reply: FastifyReply, wanted: AuthorizationRequest, user: User): Promise<FastifyReply> {
    const code = await issueCode(db, wanted, user, grantable(wanted, user), now())
    return reply.header('cache-control', 'no-store').redirect(backTo(wanted.redirectUri, wanted.state, { code }), 303)
  }

  async function showLogin(
    reply: FastifyReply,
    wanted: AuthorizationRequest,
    parameters: AuthorizationParameters,
    faults: { readonly message?: string; readonly username?: string } = {},
  ): Promise<FastifyReply> {
    const html = loginPage(await askingOf(wanted.client), carried(parameters), faults)
    return sendPage(reply, faults.message === undefined ? 200 : 401, html)
  }

  async function askingOf(client: OauthClient): Promise<Asking> {
    const guid = client.grantTypes.find((each) => each.startsWith(BROKER_MARK))?.slice(BROKER_MARK.length)
    const broker = guid === undefined ? null : await db.serviceBroker.findUnique({ where: { guid }, select: { name: true } })
    return { clientId: client.clientId, brokerName: broker?.name }
  }
}

const refusal = (wanted: AuthorizationRequest, kind: AuthorizationRefusal['kind'], description: string): AuthorizationRefusal =>
  new AuthorizationRefusal(kind, description, wanted.redirectUri, wanted.state)

const grantable = ({ scopes }: AuthorizationRequest, user: User): string[] => {
  const held = new Set<string>([...USER_SCOPES, ...user.scopes])
  return scopes.filter((scope) => held.has(scope))
}

const carried = (parameters: AuthorizationParameters): Record<string, string> =>
  Object.fromEntries(CARRIED.flatMap((name) => (parameters[name] === undefined ? [] : [[name, parameters[name]]])))

const textsOf = (values: unknown): AuthorizationParameters =>
  Object.fromEntries(
    Object.entries((values ?? {}) as Record<string, unknown>).filter(
      (entry): entry is [string, string] => typeof entry[1] === 'string',
    ),
  )
