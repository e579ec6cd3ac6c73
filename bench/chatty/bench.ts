import { execFileSync } from 'node:child_process'
import { readFileSync, readdirSync } from 'node:fs'
import { openDriver } from '../../e2e/drivers.js'
import { folder, nodeApp } from '../../e2e/fixtures.js'
import { startLoad } from '../../e2e/load.js'
import { eventually, startPlatform } from '../../e2e/platform.js'
import { summary } from '../statistics.js'

const TICKS = 100
const cpuSeconds = (pids: readonly number[]): number =>
  pids.reduce((sum, pid) => {
    const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]?.split(' ') ?? []
    return sum + (Number(fields[11]) + Number(fields[12])) / TICKS
  }, 0)
const pidsWith = (test: (command: string, environment: string) => boolean): number[] =>
  readdirSync('/proc')
    .filter((pid) => /^\d+$/.test(pid))
    .flatMap((pid) => {
      try {
        return test(
          readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' '),
          readFileSync(`/proc/${pid}/environ`, 'latin1'),
        )
          ? [Number(pid)]
          : []
      } catch {
        return []
      }
    })

/** `yes` in one app: what it costs the engine and the cell agent, and what a neighbour feels. */
export async function run() {
  const platform = await startPlatform({ engine: 'docker' })
  const driver = await openDriver('bloom', platform)
  try {
    const quiet = nodeApp("res.end('quiet')")
    await driver.ok(['push', 'neighbour', '-p', folder(quiet), '-m', '64M'])
    await eventually(
      'the neighbour answers',
      30,
      () => platform.request('neighbour.apps.localhost'),
      ({ status }) => status === 200,
    )
    const measure = async (secondsLong: number) => {
      const engine = pidsWith((command) => /(^|\/)dockerd( |$)|containerd/.test(command.split(' ')[0] ?? ''))
      const agent = pidsWith((command, environment) => environment.includes(platform.home) && command.includes('apps/cell/dist'))
      const control = pidsWith((command, environment) => environment.includes(platform.home) && command.includes('control.entry'))
      const before = [engine, agent, control].map(cpuSeconds)
      const load = startLoad(platform.httpPort, 'neighbour.apps.localhost', {
        connections: 2,
        pauseMs: 20,
        maxSeconds: secondsLong + 5,
        keepAlive: true,
      })
      await new Promise((wait) => setTimeout(wait, secondsLong * 1000))
      const { latencies, failures } = await load.stop()
      const after = [engine, agent, control].map(cpuSeconds)
      const sorted = [...latencies].sort((a, b) => a - b)
      const share = (i: number) => Math.round((((after[i] ?? 0) - (before[i] ?? 0)) / secondsLong) * 1000) / 1000
      return {
        engineCores: share(0),
        agentCores: share(1),
        controlCores: share(2),
        neighbourLatencyMs: { ...summary(latencies), p99: sorted[Math.floor(sorted.length * 0.99)] },
        failures: failures.length,
      }
    }
    const alone = await measure(15)
    await driver.ok([
      'push',
      'chatty',
      '-p',
      folder(nodeApp("res.end('chatty')", "require('node:child_process').spawn('yes', { stdio: 'inherit' })")),
      '-m',
      '64M',
    ])
    const withYes = await measure(15)
    return {
      alone,
      withYes,
      aimCores: 0.25,
      engine: execFileSync('docker', ['version', '-f', '{{.Server.Version}}']).toString().trim(),
    }
  } finally {
    driver.close()
    await platform.stop()
  }
}
