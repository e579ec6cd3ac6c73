import { appendFileSync, cpSync, existsSync, mkdtempSync, rmSync } from 'node:fs'
import { execFile } from 'node:child_process'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { type Driver, openDriver } from '../../e2e/drivers.js'
import { eventually, type Platform, REPOSITORY, startPlatform } from '../../e2e/platform.js'
import { Cloud } from '../services/cloud.js'
import { seconds, summary } from '../statistics.js'
import { bareTools, type BareTool } from './bare-tools.js'

const RUNS = Number(process.env['BENCH_RUNS'] ?? 3)
/** Where another line at the end changes nothing but the file. */
const LOCKS = ['package-lock.json', 'requirements.txt', 'pom.xml']

interface Listed<T> {
  readonly resources: readonly T[]
}

interface Explanation {
  readonly state: string
  readonly seconds: number
  readonly reused: boolean
  readonly failure: unknown
}

/** A client that reads the API's answers. */
class Api {
  constructor(
    private readonly platform: Platform,
    private readonly driver: Driver,
  ) {}

  async call<T>(path: string, ...more: readonly string[]): Promise<T> {
    return JSON.parse((await this.driver.ok(['curl', path, ...more])).stdout) as T
  }

  /** Uploads a folder as an app's newest package and answers the package's guid. */
  async upload(name: string, path: string): Promise<string> {
    await this.driver.ok(['push', name, '-p', path, '--no-start', '--no-manifest', '--no-route', '-m', '1G'])
    const [app] = (await this.call<Listed<{ guid: string }>>(`/v3/apps?names=${name}`)).resources
    const packages = await this.call<Listed<{ guid: string }>>(
      `/v3/packages?app_guids=${app?.guid}&order_by=-created_at&states=READY`,
    )
    const [newest] = packages.resources
    if (!newest) throw new Error(`${name} has no package`)
    return newest.guid
  }

  /**
   * Stages a package and answers how long that took, from the first line of work to the last. Looked after from this process: a client that
   * is started anew for each question takes its processor time from the build, and nothing from the bare tool.
   */
  async stage(packageGuid: string): Promise<{ seconds: number; reused: boolean }> {
    const cloud = await Cloud.open(this.platform)
    const { guid } = await this.call<{ guid: string }>(
      '/v3/builds',
      '-X',
      'POST',
      '-d',
      JSON.stringify({ package: { guid: packageGuid } }),
    )
    const done = await eventually(
      'the build ends',
      600,
      async () => (await cloud.call('GET', `/bloomery/v1/builds/${guid}/explanation`)) as unknown as Explanation,
      ({ state }) => state !== 'STAGING',
    )
    if (done.state !== 'STAGED') throw new Error(JSON.stringify(done.failure))
    return done
  }
}

/** What one step has left to be written to the disk is none of the next one's time. */
const settleDisk = (): Promise<unknown> => promisify(execFile)('sync')

async function oneApp(api: Api, tool: BareTool, run: number) {
  const name = `staging-${tool.language}-${run}`
  const path = mkdtempSync(join(tmpdir(), 'bloomery-bench-'))
  try {
    cpSync(join(REPOSITORY, 'examples', tool.example), path, {
      recursive: true,
      filter: (source) => !source.endsWith('node_modules'),
    })
    // Apps of one space with the same lock share a layer of packages: only a lock of its own makes the first staging a cold one.
    for (const lock of LOCKS) if (existsSync(join(path, lock))) appendFileSync(join(path, lock), '\n'.repeat(run + 1))
    const first = await api.upload(name, path)
    const bareTool = async () => {
      await settleDisk()
      return seconds(() => tool.run(path))
    }
    const stageCold = async () => {
      await settleDisk()
      return api.stage(first)
    }
    // Whichever comes second asks a registry that has just served the other: each has that place in turn.
    const before = run % 2 === 1 ? await stageCold() : undefined
    const bare = await bareTool()
    const cold = before ?? (await stageCold())
    appendFileSync(join(path, tool.source), `\n${tool.comment} changed in run ${run}\n`)
    const second = await api.upload(name, path)
    await settleDisk()
    const warm = await api.stage(second)
    const identical = await api.stage(await api.upload(name, path))
    return { bare, cold: cold.seconds, warm: warm.seconds, identical: identical.seconds, reused: identical.reused }
  } finally {
    rmSync(path, { recursive: true, force: true })
  }
}

export async function run() {
  const platform = await startPlatform({ engine: 'docker' })
  const driver = await openDriver('bloom', platform)
  const api = new Api(platform, driver)
  const results: Record<string, unknown> = {}
  const leftOut: string[] = []
  try {
    const only = process.env['BENCH_ONLY'] ? process.env['BENCH_ONLY'].split(',') : undefined
    const tools = await bareTools(
      platform.home,
      async (language, example) => {
        // Runtimes are installed once per machine; what is measured is staging, not their download.
        await api.stage(await api.upload(`warm-up-${language}`, join(REPOSITORY, 'examples', example)))
      },
      leftOut,
      only,
    )
    for (const tool of tools) {
      const runs = []
      for (let i = 0; i < RUNS; i++) {
        const figures = await oneApp(api, tool, i)
        // Told as they come: a run that is ended halfway has not been for nothing.
        process.stderr.write(`${tool.language} ${JSON.stringify(figures)}\n`)
        runs.push(figures)
      }
      results[tool.language] = {
        bareSeconds: summary(runs.map(({ bare }) => bare)),
        coldToBare: summary(runs.map(({ cold, bare }) => cold / bare)),
        warmToBare: summary(runs.map(({ warm, bare }) => warm / bare)),
        identicalSeconds: summary(runs.map(({ identical }) => identical)),
        identicalReused: runs.every(({ reused }) => reused),
      }
    }
  } finally {
    driver.close()
    await platform.stop()
  }
  return { ...results, leftOut }
}
