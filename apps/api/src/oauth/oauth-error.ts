import { CfError } from '@bloomery/contracts'
import type { FastifyInstance } from 'fastify'
import type { Logger } from '@bloomery/telemetry'

const STATUS = {
  invalid_request: 400,
  unsupported_grant_type: 400,
  invalid_scope: 400,
  invalid_grant: 400,
  invalid_scim_resource: 400,
  unauthorized: 401,
  invalid_client: 401,
  invalid_token: 401,
  unauthorized_client: 401,
  insufficient_scope: 403,
  scim_resource_not_found: 404,
  not_found: 404,
  scim_resource_already_exists: 409,
  client_already_exists: 409,
  unsupported_client: 409,
  invalid_password: 422,
  service_unavailable: 503,
  server_error: 500,
} as const
export type OauthErrorKind = keyof typeof STATUS

/** A failure of the token and user endpoints, which have an error form of their own: {"error", "error_description"}. */
export class OauthError extends Error {
  override readonly name = 'OauthError'
  constructor(
    readonly kind: OauthErrorKind,
    description: string,
  ) {
    super(description)
  }
  get status(): number {
    return STATUS[this.kind]
  }
}

/** Answers in that form for every route of this encapsulated part of the app. */
export function answerOauthErrors(app: FastifyInstance, log: Logger): void {
  app.setErrorHandler(async (error: unknown, request, reply) => {
    const known = toOauthError(error)
    if (known.status >= 500) log.error({ err: error, requestId: request.id, url: request.routeOptions.url }, 'request failed')
    else log.info({ requestId: request.id, kind: known.kind, detail: known.message }, 'refused')
    if (known.status === 401) reply.header('www-authenticate', 'Basic realm="UAA/client", error="unauthorized"')
    return reply.code(known.status).send({ error: known.kind, error_description: known.message })
  })
}

function toOauthError(error: unknown): OauthError {
  if (error instanceof OauthError) return error
  if (error instanceof CfError) {
    if (error.kind === 'InvalidAuthToken' || error.kind === 'NotAuthenticated')
      return new OauthError(error.kind === 'InvalidAuthToken' ? 'invalid_token' : 'unauthorized', error.message)
    if (error.kind === 'NotAuthorized') return new OauthError('insufficient_scope', 'Insufficient scope for this resource')
    if (error.kind === 'ServiceUnavailable') return new OauthError('service_unavailable', error.message)
    if (error.status < 500) return new OauthError('invalid_request', error.message)
  }
  if (error instanceof Error && 'statusCode' in error && typeof error.statusCode === 'number' && error.statusCode < 500)
    return new OauthError('invalid_request', 'The request cannot be read.')
  return new OauthError('server_error', 'An unknown error occurred.')
}
