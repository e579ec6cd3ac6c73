import { z } from 'zod'

/** What every role needs to know of the installation as users see it. */
export const PlatformEnv = z.object({
  BLOOMERY_HOME: z.string().default('./.bloomery'),
  BLOOMERY_BIND: z.string().default('127.0.0.1'),
  BLOOMERY_HTTP_PORT: z.coerce.number().int().min(0).max(65_535).default(8080),
  BLOOMERY_HTTPS_PORT: z.coerce.number().int().min(0).max(65_535).default(8443),
  BLOOMERY_SSH_PORT: z.coerce.number().int().min(0).max(65_535).default(2222),
  BLOOMERY_SYSTEM_DOMAIN: z.string().default('bloomery.localhost'),
  BLOOMERY_APPS_DOMAIN: z.string().default('apps.localhost'),
  /** Further host names, comma-separated, under which the API may be addressed and builds its links. */
  BLOOMERY_API_NAMES: z
    .string()
    .default('')
    .transform((text) =>
      text
        .split(',')
        .map((name) => name.trim())
        .filter(Boolean),
    ),
})
export type PlatformEnv = z.output<typeof PlatformEnv>

/** Hosts at which the API answers: api.<system>, uaa., login., log-cache. (all served by the api role) plus localhost and 127.0.0.1. */
export const apiHosts = (env: PlatformEnv): string[] => [
  ...['api', 'uaa', 'login', 'log-cache', 'doppler'].map((name) => `${name}.${env.BLOOMERY_SYSTEM_DOMAIN}`),
  'localhost',
  '127.0.0.1',
  '[::1]',
  ...env.BLOOMERY_API_NAMES,
]
