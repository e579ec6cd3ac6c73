import { pino, type Logger as PinoLogger } from 'pino'

export type Logger = PinoLogger

const SECRET_KEYS = [
  'password',
  'token',
  'secret',
  'authorization',
  'credentials',
  'environment',
  'access_token',
  'refresh_token',
  'client_secret',
]

/** A structured logger to stderr; what is named like a secret is left out, at the top and one level down. Level: BLOOMERY_LOG_LEVEL, default info. */
export function createLogger(role: string, level = process.env['BLOOMERY_LOG_LEVEL'] ?? 'info'): Logger {
  return pino(
    {
      name: role,
      level,
      base: { role },
      redact: { paths: SECRET_KEYS.flatMap((key) => [key, `*.${key}`, `req.headers.${key}`]), censor: '[redacted]' },
    },
    pino.destination({ dest: 2, sync: false }),
  )
}

/** For tests and libraries that need a logger but have nothing to say. */
export const silentLogger: Logger = pino({ level: 'silent' })
