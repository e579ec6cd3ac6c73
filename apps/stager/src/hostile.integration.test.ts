import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm, statfs, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { rows, sql } from '@bloomery/database/sql'
import { describeWithDocker, eventually, withPostgres } from '@bloomery/testing'
import { handOver } from './staging/hand-over.js'
import { Workspace } from './staging/workspace.js'
import { type Bench, type Files, IMAGE, makeBench } from './testing.fixture.js'

const script = (body: string) => ({ body: `#!/bin/bash\n${body}\n`, mode: 0o755 })
const buildpack = (finalize: string): Files => ({
  'bin/detect': script('true'),
  'bin/supply': script('true'),
  'bin/finalize': script(finalize),
  'bin/release': script('echo "default_process_types: {web: ./run}"'),
})
const APP: Files = { run: 'x', 'folder/file': 'y' }
/** Far beyond what a neighbour of four hostile builds needs: it answers, or it does not. How fast is the benchmark's to say. */
const GIVEN_UP_MS = 10_000

;(await describeWithDocker())('hostile buildpacks', () => {
  const database = withPostgres()
  let bench: Bench
  let stager: ReturnType<Bench['makeStager']>
  beforeAll(async () => {
    bench = await makeBench(database.pool)
    stager = bench.makeStager({ timeoutMs: 15_000, concurrency: 4 })
    await eventually(() => stager.isReady)
    await bench.addBuildpack('bomb', buildpack('bomb() { bomb | bomb & }; bomb; wait; sleep 60'))
    await bench.addBuildpack(
      'writer',
      buildpack(
        'dd if=/dev/zero of=/var/tmp/one bs=1M & for i in $(seq 99); do dd if=/dev/zero of=$2/$i bs=1M count=50 2>/dev/null; done; sleep 60',
      ),
    )
    await bench.addBuildpack('eater', buildpack(`exec python3 -c 'x = [bytearray(64 << 20) for _ in range(99)]'`))
    await bench.addBuildpack('looper', buildpack('while :; do :; done & while :; do echo y; done'))
  }, 60_000)
  afterAll(() => bench.close(), 60_000)

  const stage = async (options: Partial<Parameters<Bench['addBuild']>[0]>) => {
    const { build } = await bench.addBuild({ files: APP, ...options })
    await stager.offer(build)
    return (await bench.build(build))!
  }

  /** An app beside them: how long it takes to answer. */
  const neighbour = async (whileIt: () => Promise<void>): Promise<number[]> => {
    const endpoint = await bench.engine.reserveEndpoint([8080], [])
    await bench.engine.create({
      name: 'neighbour',
      purpose: 'instance',
      labels: {},
      image: IMAGE,
      command: ['python3', '-m', 'http.server', '8080'],
      environment: { PATH: '/usr/bin:/bin', HOME: '/tmp' },
      workingDirectory: '/tmp',
      mounts: [],
      layers: [],
      memoryMb: 64,
      diskMb: 64,
      cpuWeight: 3,
      pidsLimit: 64,
      fileDescriptors: 1024,
      endpoint,
      logRateLimit: -1,
    })
    await bench.engine.start('neighbour')
    const ask = () =>
      fetch(`http://${endpoint.address}:8080/`).then(
        (answer) => answer.status,
        () => 0,
      )
    await eventually(async () => (await ask()) === 200, { timeoutMs: 20_000 })
    const over = new AbortController()
    const times: number[] = []
    const asking = (async () => {
      while (!over.signal.aborted) {
        const began = performance.now()
        expect(await ask()).toBe(200)
        times.push(performance.now() - began)
        await delay(50)
      }
    })()
    await whileIt()
    over.abort()
    await asking
    await bench.engine.remove('neighbour')
    return times
  }

  it('all at once: each is ended and explained, the neighbour answers all the while, and nothing is left', async () => {
    const times = await neighbour(async () => {
      const [bomb, writer, eater, looper] = await Promise.all([
        stage({ buildpacks: ['bomb'] }),
        stage({ buildpacks: ['writer'], diskMb: 256 }),
        stage({ buildpacks: ['eater'], memoryMb: 256 }),
        stage({ buildpacks: ['looper'] }),
      ])
      expect(bomb).toMatchObject({
        state: 'FAILED',
        error: 'StagingError - Staging error: staging started more than its 1024 processes and was ended',
        failure: { cause: 'out-of-processes', nextStep: expect.stringMatching(/fewer things at once/) },
      })
      expect(writer).toMatchObject({ failure: { cause: 'out-of-disk', nextStep: expect.stringMatching(/cf push -k/) } })
      expect(eater.error).toMatch(
        /needed more than its 256 MB of memory and was ended \(out of memory(; python3 had asked for \d+ MB)?\)/,
      )
      expect(eater.failure).toMatchObject({ cause: 'out-of-memory', nextStep: expect.stringMatching(/cf push -m \d+M/) })
      expect(looper).toMatchObject({
        error: 'StagingError - Staging error: staging took longer than 15 seconds and was ended',
        failure: { cause: 'out-of-time' },
      })
    })
    expect(times.length).toBeGreaterThan(10)
    expect(Math.max(...times)).toBeLessThan(GIVEN_UP_MS)
    await eventually(async () => (await bench.engine.list('staging')).length === 0, { timeoutMs: 20_000 })
    await eventually(() => readdirSync(join(bench.home, 'builds-test')).length === 0, { timeoutMs: 20_000 })
    // What was written into the cache has gone with it, or the next build of the app would have no room.
    const [caches] = await rows<{ apps: number }>(bench.pool, sql`SELECT count(*)::int AS apps FROM apps`)
    expect(caches?.apps).toBe(4)
    expect((await bench.usedBytes('caches')) / 1024 ** 2).toBeLessThan(300)
  }, 120_000)

  it('links that lead out of the build, the cache, the dependencies and the droplet lead nowhere', async () => {
    const victim = join(bench.home, 'victim')
    await mkdir(join(victim, '0'), { recursive: true })
    await writeFile(join(victim, 'secret'), 'secret')
    const links = `
      for at in "$1/link" "$1/folder/up" "$2/link" "$3/$4/link" "$5/link" /tmp/made /tmp/contents/link; do rm -rf "$at"; ln -s ${victim} "$at"; done
      ln -s /etc/shadow "$1/shadow"; ln -s ../../../../../../../../etc "$3/$4/etc"
      rm -rf /tmp/stage/bill.json /tmp/stage/droplet.tar.gz; ln -s ${victim}/secret /tmp/stage/bill.json
      ln -s ${victim}/secret /tmp/cache/.members/x.gz; true`
    await bench.addBuildpack('linker', buildpack(links))
    const row = await stage({ buildpacks: ['linker'] })
    // Whether it can be staged or not: what the links name is as it was, and nothing of it came along.
    expect(['STAGED', 'FAILED']).toContain(row.state)
    expect(await readFile(join(victim, 'secret'), 'utf8')).toBe('secret')
    expect(readdirSync(victim).sort()).toEqual(['0', 'secret'])
    expect(bench.logs.text).not.toContain('root:')
    const healthy = await stage({ buildpacks: ['plain'] }).catch(() => undefined)
    expect(healthy?.error).toMatch(/does not exist/)
  }, 60_000)

  const canMount = process.getuid?.() === 0 && existsSync('/dev/loop-control')
  ;(canMount ? it : it.skip)(
    'writing at full speed fills no disk, whatever the build may write; what is full takes no build',
    async () => {
      await stager.close()
      const folder = join(bench.home, 'builds-small')
      const make = 'truncate -s 1G "$1" && mkfs.ext4 -q -m 0 "$1" && mkdir "$2" && mount -o loop "$1" "$2"'
      execFileSync('sh', ['-ec', make, 'make', join(bench.home, 'small.img'), folder])
      const small = bench.makeStager({ nodeId: 'small', timeoutMs: 60_000 })
      const over = new AbortController()
      let least = Infinity
      const looking = (async () => {
        while (!over.signal.aborted) {
          const { bavail, bsize } = await statfs(folder)
          least = Math.min(least, bavail * bsize)
          await delay(5)
        }
      })()
      try {
        await eventually(() => small.isReady, { timeoutMs: 20_000 })
        await bench.addBuildpack(
          'flood',
          buildpack('for i in 1 2 3 4; do dd if=/dev/zero of=/tmp/flood-$i bs=4M 2>/dev/null & done; wait; sleep 60'),
        )
        const { build } = await bench.addBuild({ files: APP, buildpacks: ['flood'], diskMb: 8192 })
        await small.offer(build)
        expect(await bench.build(build)).toMatchObject({ state: 'FAILED', failure: { cause: 'machine-disk' } })
        expect(least).toBeGreaterThan(1024 ** 2)
        await writeFile(join(folder, 'other'), Buffer.alloc(800 * 1024 ** 2))
        const next = await bench.addBuild({ files: APP, buildpacks: ['flood'] })
        await small.offer(next.build)
        expect(await bench.build(next.build)).toMatchObject({
          failure: { cause: 'machine-disk', nextStep: expect.stringMatching(/bloom gc/) },
        })
      } finally {
        over.abort()
        await looking
        await small.close()
        execFileSync('umount', [folder])
      }
    },
    180_000,
  )
})

describe('handing over what a staging has left', () => {
  it('moves no folder that a link of the staging leads to', async () => {
    const home = await mkdtemp(join(tmpdir(), 'hand-over-'))
    try {
      const victim = join(home, 'victim')
      await mkdir(join(victim, 'etc'), { recursive: true })
      const workspace = new Workspace(join(home, 'build'))
      await mkdir(workspace.contents, { recursive: true })
      await symlink(victim, workspace.made)
      const given = { droplets: join(home, 'droplets'), sha256: 'a', workspace, runtimes: home, mounted: [] }
      const layers = [{ kind: 'made' as const, source: 'etc', name: './app/x', key: 'k' }]
      expect(await handOver({ ...given, layers })).toBeUndefined()
      await rm(workspace.contents, { recursive: true })
      await symlink(victim, workspace.contents)
      expect(await handOver({ ...given, layers: [] })).toBeUndefined()
      expect(existsSync(join(victim, 'etc'))).toBe(true)
    } finally {
      await rm(home, { recursive: true, force: true })
    }
  })
})
