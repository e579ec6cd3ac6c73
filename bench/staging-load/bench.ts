import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { type Driver, openDriver } from '../../e2e/drivers.js'
import { eventually, type Platform, REPOSITORY, startPlatform } from '../../e2e/platform.js'
import { seconds } from '../statistics.js'
import { watchMemory } from './stager-memory.js'

const PUSHES = Number(process.env['BENCH_PUSHES'] ?? 10)
const IDLE_MS = 10_000
const ASK_EVERY_MS = 25
const SETTLE_MS = 10_000
/** What may be left of it when all is over; garbage that is not collected yet comes to less. */
const FLAT_MB = 32
/** Together with the platform's start and end, and all else here, some eight minutes. */
const PUSHES_MS = 360_000
const NEIGHBOUR = 'neighbour.apps.localhost'

/** Asks an app again and again and keeps how long each answer took, in milliseconds. */
async function latencies(platform: Platform, until: Promise<unknown>) {
  const times: number[] = []
  let [over, failures] = [false, 0]
  const end = () => void (over = true)
  void until.then(end, end)
  while (!over) {
    const began = performance.now()
    const { status } = await platform.request(NEIGHBOUR).catch(() => ({ status: 0 }))
    if (status !== 200) failures++
    times.push(performance.now() - began)
    await delay(ASK_EVERY_MS)
  }
  times.sort((a, b) => a - b)
  const at = (part: number): number => Math.round((times[Math.floor(times.length * part)] ?? 0) * 10) / 10
  return { p50: at(0.5), p99: at(0.99), answers: times.length, failures }
}

/** One app with a lock of its own: no two are the same, and none takes over what another has installed. */
async function push(driver: Driver, name: string): Promise<boolean> {
  const path = mkdtempSync(join(tmpdir(), 'bloomery-bench-'))
  try {
    cpSync(join(REPOSITORY, 'examples/express-app'), path, {
      recursive: true,
      filter: (source) => !source.endsWith('node_modules'),
    })
    for (const file of ['package.json', 'package-lock.json']) {
      const content = JSON.parse(readFileSync(join(path, file), 'utf8')) as Record<string, unknown>
      writeFileSync(join(path, file), JSON.stringify({ ...content, name }))
    }
    const options = { timeoutMs: PUSHES_MS, lowPriority: true }
    const { code, all } = await driver.run(['push', name, '-p', path, '--no-manifest', '-m', '128M'], options)
    if (code !== 0) process.stderr.write(`${name} ended with ${code}:\n${all.slice(-2_000)}\n`)
    return code === 0
  } finally {
    rmSync(path, { recursive: true, force: true })
  }
}

/** Many pushes at once beside an app that must go on answering: whether all succeed, its latency before and meanwhile, the stager's memory. */
export async function run() {
  const platform = await startPlatform({ engine: 'docker' })
  const driver = await openDriver('bloom', platform)
  try {
    await driver.ok(['push', 'neighbour', '-p', join(REPOSITORY, 'examples/hello-node'), '--no-manifest', '-m', '128M'])
    await eventually(
      'it answers',
      60,
      () => platform.request(NEIGHBOUR),
      ({ status }) => status === 200,
    )
    // The runtime is on the machine then, as on any that has staged a Node app before.
    if (!(await push(driver, 'first'))) throw new Error('the first push failed')
    const idle = await latencies(platform, delay(IDLE_MS))
    const memory = watchMemory(platform.home)
    let failed = 0
    const pushing = seconds(() =>
      Promise.all(
        Array.from({ length: PUSHES }, async (_, i) => {
          if (!(await push(driver, `many-${i}`))) failed++
        }),
      ),
    )
    const busy = await latencies(platform, pushing)
    await delay(SETTLE_MS)
    const allowed = Math.max(2 * idle.p99, 20)
    const stagerMb = memory.stop()
    const isFlat = stagerMb.after - stagerMb.before <= FLAT_MB
    return {
      pushes: PUSHES,
      failed,
      seconds: Math.round(await pushing),
      idleMs: idle,
      busyMs: busy,
      allowedP99Ms: allowed,
      stagerMb,
      met: { allSucceed: failed === 0 && busy.failures === 0, latency: busy.p99 <= allowed, memoryFlat: isFlat },
    }
  } finally {
    driver.close()
    await platform.stop()
  }
}
