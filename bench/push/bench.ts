import { execFileSync } from 'node:child_process'
import { chmodSync, chownSync, cpSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { availableDrivers, openDriver, type Driver } from '../../e2e/drivers.js'
import { eventually, REPOSITORY, startPlatform, type Platform } from '../../e2e/platform.js'
import { seconds, summary } from '../statistics.js'

const IMAGE = process.env['BLOOMERY_STACK_IMAGE'] ?? 'bloomery/stack:bookworm'
const RUNS = Number(process.env['BENCH_RUNS'] ?? 3)
const EXPRESS = join(REPOSITORY, 'examples/express-app')

/** What nobody can beat: `npm ci` in the same image with nothing cached, then `docker run` until the port answers. */
async function floor(run: number): Promise<{ install: number; start: number; total: number }> {
  const work = mkdtempSync(join(tmpdir(), 'bloomery-floor-'))
  const name = `bloomery-bench-floor-${process.pid}-${run}`
  try {
    cpSync(EXPRESS, work, { recursive: true })
    rmSync(join(work, 'node_modules'), { recursive: true, force: true })
    chmodSync(work, 0o777)
    chownSync(work, 2000, 2000)
    const node = realpathSync(process.execPath)
    const npm = join(dirname(dirname(node)), 'lib/node_modules/npm')
    const npmrc = execFileSync('npm', ['config', 'get', 'registry'], { cwd: tmpdir() }).toString().trim()
    const common = [
      ...[
        '-v',
        `${work}:/app`,
        '-v',
        `${node}:/usr/local/bin/node:ro`,
        '-v',
        `${npm}:/npm:ro`,
        '-v',
        '/etc/ssl/certs:/etc/ssl/certs:ro',
      ],
      ...[
        '-e',
        `NPM_CONFIG_REGISTRY=${npmrc}`,
        '-e',
        'NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt',
        '-e',
        'HOME=/tmp',
        '-w',
        '/app',
        '-u',
        '2000:2000',
      ],
    ]
    const install = await seconds(async () =>
      execFileSync(
        'docker',
        ['run', '--rm', ...common, IMAGE, 'node', '/npm/bin/npm-cli.js', 'ci', '--omit=dev', '--no-audit', '--no-fund'],
        { stdio: 'pipe' },
      ),
    )
    const start = await seconds(async () => {
      execFileSync(
        'docker',
        ['run', '-d', '--name', name, ...common, '-e', 'PORT=8080', IMAGE, 'node', '/npm/bin/npm-cli.js', 'start'],
        { stdio: 'pipe' },
      )
      const address = execFileSync('docker', ['inspect', '-f', '{{.NetworkSettings.IPAddress}}', name]).toString().trim()
      await eventually(
        'the floor answers',
        60,
        () =>
          fetch(`http://${address}:8080/`).then(
            (r) => r.status,
            () => 0,
          ),
        (status) => status === 200,
      )
    })
    return { install, start, total: install + start }
  } finally {
    try {
      execFileSync('docker', ['rm', '-f', name], { stdio: 'ignore' })
    } catch {
      // It never started.
    }
    rmSync(work, { recursive: true, force: true })
  }
}

const answers = (platform: Platform, name: string, expected?: string) =>
  eventually(
    `${name} answers`,
    60,
    () => platform.request(`${name}.apps.localhost`),
    ({ status, body }) => status === 200 && (expected === undefined || body.includes(expected)),
  )

async function pushes(
  platform: Platform,
  driver: Driver,
  run: number,
): Promise<{ first: number; second: number; scale: number }> {
  const name = `bench-${driver.name}-${run}`
  const path = mkdtempSync(join(tmpdir(), 'bloomery-bench-'))
  try {
    cpSync(EXPRESS, path, { recursive: true })
    rmSync(join(path, 'node_modules'), { recursive: true, force: true })
    const first = await seconds(async () => {
      await driver.ok(['push', name, '-p', path, '-m', '256M'])
      await answers(platform, name)
    })
    writeFileSync(join(path, 'CHANGED.md'), `changed in run ${run}\n`)
    const second = await seconds(async () => {
      await driver.ok(['push', name, '-p', path, '-m', '256M'])
      await answers(platform, name)
    })
    const scale = await seconds(async () => {
      await driver.ok(['scale', name, '-i', '2'])
      await eventually(
        'the second instance runs',
        60,
        () => driver.ok(['app', name]),
        ({ stdout }) => /2\/2/.test(stdout),
      )
    })
    await driver.ok(['delete', name, '-f', '-r'])
    return { first, second, scale }
  } finally {
    rmSync(path, { recursive: true, force: true })
  }
}

export async function run() {
  const platform = await startPlatform({ engine: 'docker' })
  const floors: Awaited<ReturnType<typeof floor>>[] = []
  const byDriver: Record<string, Awaited<ReturnType<typeof pushes>>[]> = {}
  try {
    // In turns, so that a busy minute of the machine falls on all alike.
    for (let i = 0; i < RUNS; i++) {
      floors.push(await floor(i))
      for (const name of availableDrivers()) {
        const driver = await openDriver(name, platform)
        ;(byDriver[name] ??= []).push(await pushes(platform, driver, i))
        driver.close()
      }
    }
  } finally {
    await platform.stop()
  }
  const base = summary(floors.map(({ total }) => total))
  const baseStart = summary(floors.map(({ start }) => start))
  return {
    app: (JSON.parse(readFileSync(join(EXPRESS, 'package.json'), 'utf8')) as { name: string }).name,
    floorSeconds: { total: base, install: summary(floors.map(({ install }) => install)), start: baseStart },
    drivers: Object.fromEntries(
      Object.entries(byDriver).map(([name, results]) => [
        name,
        {
          firstPushSeconds: summary(results.map(({ first }) => first)),
          firstPushToFloor: summary(results.map(({ first }, i) => first / (floors[i]?.total ?? Number.NaN))),
          secondPushSeconds: summary(results.map(({ second }) => second)),
          scaleSeconds: summary(results.map(({ scale }) => scale)),
          scaleMinusFloorSeconds: summary(results.map(({ scale }, i) => scale - (floors[i]?.start ?? Number.NaN))),
        },
      ]),
    ),
  }
}
