import { fileURLToPath } from 'node:url'
import { ConfigError, runAsProgram } from '@bloomery/config'
import { ensureNodeIdentity, keepIdentityFresh, loadNodeIdentity, nodeIdentityOptions } from '@bloomery/pki'
import { createLogger, type Logger } from '@bloomery/telemetry'
import { loadRouterConfig, type RouterConfig } from './config.js'
import { Holder } from './holder/holder.js'

/** The router while it runs. */
export interface RunningRouter {
  /** Pids of the workers, by slot. */
  readonly workers: ReadonlyMap<string, number>
  /** Resolves when another process has taken over the workers; then there is nothing left to close. */
  readonly succeeded: Promise<void>
  /** Drains and ends the workers. */
  close(): Promise<void>
}

/**
 * Starts the router, or takes over the workers of one that was killed. The workers are processes of their own and outlive this
 * one; only {@link RunningRouter.close} ends them. Throws ConfigError, e.g. when a port is taken.
 */
export async function startRouter(env: NodeJS.ProcessEnv): Promise<RunningRouter> {
  const log = createLogger('router')
  const config = loadRouterConfig(env)
  const identity = keepIdentity(env, config, log)
  try {
    const holder = await Holder.start({
      config,
      env,
      log,
      workerScript: fileURLToPath(new URL('./worker.entry.js', import.meta.url)),
      execArgv: WORKER_FLAGS,
    })
    return {
      get workers() {
        return holder.workers
      },
      succeeded: holder.succeeded.then(() => identity.close()),
      close: async () => {
        identity.close()
        await holder.close()
      },
    }
  } catch (error) {
    identity.close()
    throw error
  }
}

/**
 * New objects die with their request. With less room for them (2 MB) those of requests under way were carried over so often that
 * it cost more time, and more memory in the old heap, than the room does. There is a worker for each processor, so threads that help
 * one with its garbage only take turns with it and the others, and cost a tenth of a small request.
 */
const WORKER_FLAGS = ['--max-semi-space-size=8', '--single-threaded-gc', '--no-warnings']

/** Obtains the certificate if there is none yet, and renews it. Traffic does not wait for it: the workers read it when it is there. */
function keepIdentity(env: NodeJS.ProcessEnv, config: RouterConfig, log: Logger): { close(): void } {
  const ending = new AbortController()
  let renewal: { close(): void } | undefined
  const options = nodeIdentityOptions('router', env)
  if (!loadNodeIdentity(config.nodeDir) && !options.joinUrl)
    throw new ConfigError(
      `There is no certificate in ${config.nodeDir}. Set BLOOMERY_JOIN_URL and BLOOMERY_JOIN_TOKEN to obtain one, or BLOOMERY_NODE_DIR to where it is.`,
    )
  void ensureNodeIdentity({
    ...options,
    signal: ending.signal,
    onWaiting: (reason) => log.info({ reason }, 'no certificate yet'),
  }).then(
    (identity) => {
      if (ending.signal.aborted || config.joinUrl === undefined) return
      renewal = keepIdentityFresh({
        identity,
        dir: config.nodeDir,
        url: config.joinUrl,
        onRenewed: () => log.info('certificate renewed'),
        onFailed: (error) => log.warn({ err: error }, 'the certificate could not be renewed yet'),
      })
    },
    (error: unknown) => {
      if (!ending.signal.aborted)
        log.error({ err: error }, 'the router has no certificate: it serves the routes it knows and learns no new ones')
    },
  )
  return {
    close: () => {
      ending.abort()
      renewal?.close()
    },
  }
}

/** `EX_CONFIG` of sysexits: starting again is in vain until someone changes the configuration. */
const EXIT_MISCONFIGURED = 78

await runAsProgram(import.meta.url, startRouter, {
  known: [ConfigError],
  misconfiguredStatus: EXIT_MISCONFIGURED,
  // A holder that was succeeded by a newer one has nothing left to do.
  started: (router) => void router.succeeded.then(() => process.exit(0)),
})
