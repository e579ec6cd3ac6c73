import { createEngine } from '@bloomery/containers'

// A program of its own, so that the launcher need not carry an engine's client in memory.
const engine = await createEngine(process.env)
try {
  await engine.cleanUp({ everything: true, graceSeconds: Number(process.env['BLOOMERY_APP_GRACE_SECONDS'] ?? '10') })
} finally {
  await engine.close()
}
