import { fileURLToPath } from 'node:url'
import { apiAddress, greeting } from './greeting.js'
import { prepareHome } from './home.js'
import { explain } from './launch-error.js'
import { Launcher } from './launcher.js'
import { readSettings, type Settings } from './settings.js'
import { becomeTheLauncher, resignAsLauncher } from './single-launcher.js'

// npm and the terminal both hand on Ctrl-C, so that one press arrives twice.
const SAME_PRESS_MS = 1_500

/** Starts the platform and stays until it is told to stop; resolves with the exit code. */
export async function startLauncher(env: NodeJS.ProcessEnv): Promise<number> {
  // Whoever read our output may have gone (a closed terminal, a pipe's end): the platform goes on, and stops as cleanly.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined)
  try {
    return await launch(env)
  } catch (error) {
    console.error(`\nBloomery could not start. ${explain(error)}`)
    return 1
  }
}

async function launch(env: NodeJS.ProcessEnv): Promise<number> {
  const settings = readSettings(env)
  const { run } = settings.paths
  const other = becomeTheLauncher(run, apiAddress(settings))
  if (other !== undefined) {
    console.log(
      `Bloomery runs already (process ${other.pid}) at ${other.api}, with its data in ${settings.paths.home}.\n` +
        `Stop it with Ctrl-C where it was started, or with: kill ${other.pid}\nFor a second platform beside it set BLOOMERY_HOME and the three ports (BLOOMERY_HTTP_PORT, BLOOMERY_HTTPS_PORT, BLOOMERY_SSH_PORT).`,
    )
    return 0
  }
  try {
    return await launchAlone(settings)
  } finally {
    resignAsLauncher(run)
  }
}

async function launchAlone(settings: Settings): Promise<number> {
  const home = prepareHome(settings)
  const launcher = new Launcher(settings)
  const stopped = stopOnSignal()
  const say = (line: string): void => console.log(line)
  let code = 0
  try {
    const started = (async () => {
      await launcher.prepare(say)
      await launcher.start(home)
    })()
    const outcome = await Promise.race([started.then(() => 'ready' as const), stopped])
    if (outcome === 'ready') {
      console.log(greeting(settings, home, launcher.engine, launcher.sample))
      await stopped
    }
    started.catch(() => undefined)
    console.log('\nStopping. Data stays.')
  } catch (error) {
    code = 1
    console.error(`\nBloomery could not start. ${explain(error)}`)
    // Nobody asked for the end of the apps that a killed launcher left behind.
    if (launcher.tookOver) {
      await launcher.leave()
      console.error('What ran before this start goes on running; the next start takes it over.')
      return code
    }
  }
  await launcher.stop(say).catch((error: unknown) => {
    code = 1
    console.error(`Stopping was not clean: ${explain(error)}`)
  })
  if (code === 0) console.log('Stopped.')
  return code
}

/** Resolves at the first Ctrl-C, SIGTERM or SIGHUP; a later one ends this process at once, and the next start takes over. */
function stopOnSignal(): Promise<'stopped'> {
  return new Promise((resolve) => {
    let first = 0
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
      process.on(signal, () => {
        if (first === 0) {
          first = Date.now()
          resolve('stopped')
        } else if (Date.now() - first > SAME_PRESS_MS) process.exit(130)
      })
  })
}

if (process.argv[1] === fileURLToPath(import.meta.url)) process.exit(await startLauncher(process.env))
