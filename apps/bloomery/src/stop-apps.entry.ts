import { join } from 'node:path'
import { homePaths } from '@bloomery/config'
import { DockerEngine } from '@bloomery/containers'
import { createLogger } from '@bloomery/telemetry'

// A program of its own, so that the launcher need not carry an engine's client in memory.
const env = process.env
const engine = new DockerEngine({
  installationId: env['BLOOMERY_INSTALLATION_ID'] ?? '',
  folder: join(homePaths(env['BLOOMERY_HOME'] ?? '').cell, 'containers'),
  ...(env['DOCKER_HOST'] ? { host: env['DOCKER_HOST'] } : {}),
  logger: createLogger('launcher'),
})
try {
  await engine.cleanUp({ everything: true, graceSeconds: Number(env['BLOOMERY_APP_GRACE_SECONDS'] ?? '10') })
} finally {
  await engine.close()
}
