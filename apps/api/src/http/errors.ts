import type { FastifyInstance } from 'fastify'
import { CF_ERRORS, CfError, type CfErrorView } from '@bloomery/contracts'
import type { Logger } from '@bloomery/telemetry'
import { drainBody } from '../uploads/drain-body.js'

const UNKNOWN: CfErrorView = {
  code: CF_ERRORS.UnknownError.code,
  title: CF_ERRORS.UnknownError.title,
  detail: 'An unknown error occurred.',
}

/** The one place where failures become answers: CfError as it says, framework faults in CF's words, all else UnknownError with its stack in the log only. */
export function answerErrors(app: FastifyInstance, log: Logger): void {
  app.setErrorHandler(async (error: unknown, request, reply) => {
    if (request.headers['content-type']?.startsWith('multipart/')) await drainBody(request.raw)
    const known = toCfError(error)
    if (known) {
      // A client that has left makes failures of what was done for it; nobody needs to look into those.
      const level = reply.raw.destroyed ? 'debug' : 'info'
      log[level]({ requestId: request.id, url: request.url, kind: known.kind, detail: known.message }, 'refused')
      if (known.kind === 'ServiceUnavailable') reply.header('retry-after', '5')
      return reply.code(known.status).send({ errors: known.toViews() })
    }
    log.error({ err: error, requestId: request.id, method: request.method, url: request.url }, 'request failed')
    return reply.code(500).send({ errors: [UNKNOWN] })
  })
  app.setNotFoundHandler(async (_request, reply) =>
    reply.code(404).send({ errors: new CfError('NotFound', 'Unknown request').toViews() }),
  )
}

function toCfError(error: unknown): CfError | undefined {
  if (error instanceof CfError) return error
  if (!(error instanceof Error)) return undefined
  const code = 'code' in error && typeof error.code === 'string' ? error.code : ''
  const status = 'statusCode' in error && typeof error.statusCode === 'number' ? error.statusCode : 500
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE' || code === 'FST_REQ_FILE_TOO_LARGE')
    return new CfError('UploadTooLarge', 'The request body is too large; send less, or ask the operator to raise the limit.', {
      cause: error,
    })
  if (status >= 400 && status < 500)
    return new CfError('MessageParseError', 'Request invalid due to parse error: invalid request body', { cause: error })
  // The database is away: whoever asks again a little later will be served.
  if (
    /^(P1001|P1002|P1017|P2024|ECONNREFUSED|ENOENT|57P0[123]|08\d{3})$/.test(code) ||
    /Can't reach database|Connection terminated|connection timeout|timeout exceeded when trying to connect/i.test(error.message)
  )
    return new CfError(
      'ServiceUnavailable',
      'The platform is not ready to answer: its database cannot be reached. Try again in a few seconds.',
      { cause: error },
    )
  return undefined
}

/** "App not found" and the like; some words are compared literally by the client. */
export const notFound = (what: string): CfError => new CfError('ResourceNotFound', `${what} not found`)
export const unprocessable = (detail: string | readonly string[]): CfError => new CfError('UnprocessableEntity', detail)
