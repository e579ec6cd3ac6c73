import { createLogger } from '@bloomery/telemetry'
import { loadRouterConfig } from './config.js'
import { inheritedSockets } from './holder/spawn-worker.js'
import { startWorker } from './worker/worker.js'

const [slot = '', generation = '', tcpPorts = ''] = process.argv.slice(2)
const log = createLogger(`router-${slot}`)
try {
  const worker = await startWorker({
    config: loadRouterConfig(process.env),
    slot,
    generation,
    sockets: inheritedSockets(tcpPorts),
    log,
  })
  for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => void worker.drain())
  await worker.ended
  process.exit(0)
} catch (error) {
  log.fatal({ err: error }, 'the worker cannot start')
  // The logger writes in its own time.
  log.flush(() => process.exit(1))
}
