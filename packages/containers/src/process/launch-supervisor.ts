import { spawn } from 'node:child_process'
import { EngineError } from '../engine.js'
import type { SuperviseOrder } from './supervise.js'

const START_TIMEOUT_MS = 20_000

/** Starts the supervisor of one container, which outlives us. Resolves when the container's program has begun. */
export async function launchSupervisor(
  order: SuperviseOrder,
  { entry, installationId }: { readonly entry: string; readonly installationId: string },
): Promise<void> {
  const child = spawn(process.execPath, ['--max-semi-space-size=1', '--max-old-space-size=64', entry], {
    cwd: '/',
    detached: true,
    env: { PATH: '/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin', BLOOMERY_INSTALLATION: installationId },
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  child.unref()
  child.stdin.end(JSON.stringify(order))
  let complaint = ''
  child.stderr.on('data', (part: Buffer) => (complaint += part.toString()))
  try {
    await new Promise<void>((started, failed) => {
      const timer = setTimeout(() => failed(new Error('it did not answer in time')), START_TIMEOUT_MS)
      const over = (error?: Error) => {
        clearTimeout(timer)
        if (error === undefined) started()
        else failed(error)
      }
      child.stdout.once('data', () => over())
      child.once('error', over)
      child.once('exit', () => over(new Error(complaint.trim() || 'it ended at once')))
    })
  } catch (error) {
    child.kill('SIGKILL')
    const reason = error instanceof Error ? error.message : String(error)
    throw new EngineError('refused', `The supervisor of a process could not start: ${reason}`, { cause: error })
  } finally {
    child.stdout.destroy()
    child.stderr.destroy()
  }
}
