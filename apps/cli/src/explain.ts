import { ApiError, ClientError } from '@bloomery/client'

/** A failure as a person reads it: what happened, why, and what to do. */
export function explain(error: unknown, env: NodeJS.ProcessEnv): string {
  if (error instanceof ClientError) return error.message
  if (error instanceof ApiError) return explainApi(error)
  const { message, stack } = error instanceof Error ? error : new Error(String(error))
  if (env['BLOOM_TRACE'] === 'true') return stack ?? message
  return isSystemError(error) ? message : `bloom failed unexpectedly: ${message}\nBLOOM_TRACE=true shows where it came from.`
}

function explainApi({ status, errors, message }: ApiError): string {
  if (status === 401) return `${message}\nLog in again with: bloom login`
  if (status === 403 && errors.length === 1) return `${message}\nAsk a manager of the org or space for a role that may do this.`
  if (errors.length > 1) return errors.map(({ detail }) => `- ${detail}`).join('\n')
  return message
}

/** Files that are not there, disks that are full: its message names the file and says why. */
const isSystemError = (error: unknown): boolean => error instanceof Error && 'syscall' in error && 'code' in error
