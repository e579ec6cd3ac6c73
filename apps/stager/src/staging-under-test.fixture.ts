import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { eventually, withPostgres } from '@bloomery/testing'
import { type Bench, type BuildRow, type DropletRow, makeBench, serving } from './testing.fixture.js'

type BuildOptions = Parameters<Bench['addBuild']>[0]

const SYSTEM_BUILDPACKS: readonly string[] = [
  'staticfile',
  'java',
  'ruby',
  'dotnet_core',
  'nodejs',
  'go',
  'python',
  'php',
  'nginx',
  'binary',
].map((name) => `${name}_buildpack`)

interface Done {
  readonly row: BuildRow
  readonly app: string
  readonly log: string
}

/** A bench with one stager at work, from `beforeAll` to `afterAll`. */
export interface StagingUnderTest {
  readonly bench: Bench
  /** A folder for what the tests make. */
  readonly work: string
  /** To its end, good or bad. */
  stage(options: BuildOptions): Promise<Done>
  /** Throws with the log unless it ends well. */
  staged(options: BuildOptions): Promise<Done & { readonly droplet: DropletRow }>
  /** Stages, starts, and answers what `look` prints beside the running app, and what the app has printed. */
  answer(
    options: BuildOptions,
    look?: string,
    before?: string,
  ): Promise<{ readonly text: string; readonly log: string; readonly droplet: DropletRow }>
}

/** Call at the top of a describe block. */
export function withStaging(
  systemBuildpacks: readonly string[] = SYSTEM_BUILDPACKS,
  surroundings: { readonly airGapped?: boolean } = {},
): StagingUnderTest {
  const database = withPostgres()
  let made: { readonly bench: Bench; readonly stager: ReturnType<Bench['makeStager']>; readonly work: string } | undefined
  const present = () => {
    if (made === undefined) throw new Error('usable from the tests on')
    return made
  }
  beforeAll(async () => {
    const bench = await makeBench(database.pool, { systemBuildpacks, ...surroundings })
    const stager = bench.makeStager()
    made = { bench, stager, work: await mkdtemp(join(tmpdir(), 'staging-')) }
    await eventually(() => stager.isReady)
  }, 60_000)
  afterAll(async () => {
    await made?.bench.close()
    if (made !== undefined) await rm(made.work, { recursive: true, force: true })
  }, 60_000)

  const stage = async (options: BuildOptions): Promise<Done> => {
    const { bench, stager } = present()
    bench.logs.lines.length = 0
    const { build, app } = await bench.addBuild(options)
    await stager.offer(build)
    const row = await bench.build(build)
    if (row === undefined) throw new Error('the build is gone')
    return { row, app, log: bench.logs.text }
  }
  const staged = async (options: BuildOptions) => {
    const done = await stage(options)
    if (done.row.state !== 'STAGED') throw new Error(`${done.row.error}\n${done.log}`)
    return { ...done, droplet: await present().bench.droplet(done.row.droplet_guid) }
  }
  return {
    get bench() {
      return present().bench
    },
    get work() {
      return present().work
    },
    stage,
    staged,
    answer: async (options, look = 'curl -s localhost:$PORT/', before = '') => {
      const { droplet, log } = await staged(options)
      const command = droplet.process_types['web'] ?? ''
      const script = `${before}${serving(command, `${look}; echo; cat /home/vcap/logs/out`)}`
      return { text: await present().bench.inDroplet(droplet.sha256, script), log, droplet }
    },
  }
}
