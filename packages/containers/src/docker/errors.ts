import { EngineError } from '../engine.js'

/** The engine's answers in our words; what is already ours passes through. */
export function asEngineError(error: unknown, doing: string): EngineError {
  if (error instanceof EngineError) return error
  const { statusCode, code } = error as { statusCode?: number; code?: string }
  const message = `Could not ${doing}: ${error instanceof Error ? error.message : String(error)}`
  const options = { cause: error }
  if (/no space left|ENOSPC/i.test(message)) return new EngineError('no-space', message, options)
  if (statusCode === undefined) {
    if (code !== undefined) return new EngineError('unavailable', `${message}. Is the container engine running?`, options)
    return new EngineError('refused', message, options)
  }
  if (/already (in use|allocated)|port is already/i.test(message)) return new EngineError('conflict', message, options)
  if (/no such image/i.test(message)) return new EngineError('image-missing', message, options)
  if (statusCode === 404) return new EngineError('not-found', message, options)
  if (statusCode === 409) return new EngineError('conflict', message, options)
  if (statusCode === 503) return new EngineError('unavailable', message, options)
  return new EngineError('refused', message, options)
}

export const isNotFound = (error: unknown): boolean => (error as { statusCode?: number }).statusCode === 404
export const isNotModified = (error: unknown): boolean => (error as { statusCode?: number }).statusCode === 304
export const isConflict = (error: unknown): boolean => (error as { statusCode?: number }).statusCode === 409
