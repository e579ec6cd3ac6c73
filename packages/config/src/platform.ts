import { parsePortRanges, type PortRange } from '@bloomery/domain'
import { z } from 'zod'
import { ConfigError } from './parse.js'

/** What every role needs to know of the installation as users see it. */
export const PlatformEnv = z.object({
  /** Where all data lies. */
  BLOOMERY_HOME: z.string().default('./.bloomery'),
  /** Address at which the router listens. */
  BLOOMERY_BIND: z.string().default('127.0.0.1'),
  /** Public HTTP port. */
  BLOOMERY_HTTP_PORT: z.coerce.number().int().min(0).max(65_535).default(8080),
  /** Public HTTPS port. */
  BLOOMERY_HTTPS_PORT: z.coerce.number().int().min(0).max(65_535).default(8443),
  /** Public ssh port. */
  BLOOMERY_SSH_PORT: z.coerce.number().int().min(0).max(65_535).default(2222),
  /** Ports that routers keep for TCP routes: ranges and single ports from 1024 up, or `none`. `npm start` looks for a free range once. */
  BLOOMERY_TCP_PORTS: z.string().default('20000-20049'),
  /** Address at which TCP routes are served, where it is not that of the public ports. */
  BLOOMERY_TCP_BIND: z.string().optional(),
  /** Domain of the platform itself: `api.`, `uaa.`, `login.`, `log-cache.`, `console.` */
  BLOOMERY_SYSTEM_DOMAIN: z.string().default('bloomery.localhost'),
  /** Default shared domain of apps. */
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

/** What of the machine instances and builds may reach: the platform's public ports and those of TCP routes, and the names of the API. */
export function publicDoors(env: PlatformEnv): {
  readonly bind: string
  readonly ports: readonly number[]
  readonly tcp: { readonly bind: string; readonly ranges: readonly PortRange[] }
  readonly hosts: readonly string[]
} {
  return {
    bind: env.BLOOMERY_BIND,
    ports: [env.BLOOMERY_HTTP_PORT, env.BLOOMERY_HTTPS_PORT, env.BLOOMERY_SSH_PORT].filter((port) => port > 0),
    tcp: { bind: env.BLOOMERY_TCP_BIND ?? env.BLOOMERY_BIND, ranges: tcpPortRanges(env) },
    hosts: apiHosts(env).filter((host) => host.includes('.') && !/^[\d.]+$/.test(host)),
  }
}

/** The ports for TCP routes; throws ConfigError where the setting is no list of ports. */
export function tcpPortRanges({ BLOOMERY_TCP_PORTS: text }: Pick<PlatformEnv, 'BLOOMERY_TCP_PORTS'>): readonly PortRange[] {
  const ranges = parsePortRanges(text === 'none' ? '' : text)
  if (ranges) return ranges
  throw new ConfigError(
    `Invalid configuration:\nBLOOMERY_TCP_PORTS must be ranges and single ports from 1024 to 65535 that do not overlap, e.g. 20000-20049, or none.`,
  )
}
