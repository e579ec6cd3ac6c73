import { resolve } from 'node:path'
import { homePaths, parseEnvironment, PlatformEnv, type HomePaths } from '@bloomery/config'
import { z } from 'zod'

/** What may be set for `npm start`, besides what every role reads. docs/configuration.md lists all of it. */
const LauncherEnv = PlatformEnv.extend({
  /** For `npm start` the first 50 ports from 20000 up that were free at the first start. */
  BLOOMERY_TCP_PORTS: z.string().optional(),
  /** For `npm start` docker where an engine answers, else process. */
  BLOOMERY_ENGINE: z.enum(['docker', 'process']).optional(),
  /** May missing programs be installed by apt? `ask`: on a terminal; elsewhere only as root. */
  BLOOMERY_INSTALL: z.enum(['yes', 'no', 'ask']).default('ask'),
  /** Whether the first start pushes examples/hello-node. */
  BLOOMERY_SAMPLE: z.enum(['yes', 'no']).default('yes'),
  /** Whether the bundled service broker runs and is registered. */
  BLOOMERY_BROKER: z.enum(['on', 'off']).default('on'),
  /** Password of `admin`; without it one is made at the first start and kept in $BLOOMERY_HOME/admin-password. */
  BLOOMERY_ADMIN_PASSWORD: z.string().min(8, 'must have at least 8 characters').optional(),
  /** `npm start` builds it where it is missing. */
  BLOOMERY_STACK_IMAGE: z.string().default('bloomery/stack:bookworm'),
  /** For `npm start` instead of the embedded one. */
  DATABASE_URL: z.string().optional(),
  /** For `npm start` instead of a private one. */
  REDIS_URL: z.string().optional(),
  /** For `npm start` instead of $BLOOMERY_HOME/blobs. */
  BLOBSTORE_URL: z.string().optional(),
})

export interface Settings extends z.output<typeof LauncherEnv> {
  readonly paths: HomePaths
  /** What roles inherit. */
  readonly inherited: NodeJS.ProcessEnv
  /** True where a person sits before it: steps are drawn, questions asked. */
  readonly interactive: boolean
}

export function readSettings(env: NodeJS.ProcessEnv): Settings {
  const parsed = parseEnvironment(LauncherEnv, env)
  return {
    ...parsed,
    paths: homePaths(resolve(parsed.BLOOMERY_HOME)),
    inherited: Object.fromEntries(Object.entries(env).filter(([name]) => !/^npm_|^TURBO_|^INIT_CWD$/.test(name))),
    interactive: process.stdout.isTTY && process.stdin.isTTY && env['CI'] === undefined,
  }
}
