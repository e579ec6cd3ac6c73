import { join } from 'node:path'
import { EngineEnv, homePaths, parseEnvironment } from '@bloomery/config'
import { createEngine } from '@bloomery/containers'
import { createLogger } from '@bloomery/telemetry'

// Stops and removes every container of this installation. A program of its own, so that the launcher need not carry an
// engine's client in memory.
const env = parseEnvironment(EngineEnv, process.env)
const paths = homePaths(process.env['BLOOMERY_HOME'] ?? '')
try {
  await stopApps()
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = 1
}

async function stopApps(): Promise<void> {
  for (const folder of [join(paths.cell, 'containers'), join(paths.stager, 'containers')]) {
    const engine = createEngine({
      kind: env.BLOOMERY_ENGINE,
      installationId: env.BLOOMERY_INSTALLATION_ID,
      folder,
      image: env.BLOOMERY_STACK_IMAGE,
      host: env.DOCKER_HOST,
      hostAddress: '127.0.0.1',
      trustHostCertificates: true,
      allowUnconfined: false,
      logger: createLogger('launcher'),
    })
    try {
      await engine.cleanUp({ everything: true, graceSeconds: Number(process.env['BLOOMERY_APP_GRACE_SECONDS'] ?? '10') })
    } finally {
      await engine.close()
    }
  }
}
