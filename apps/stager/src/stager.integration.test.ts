import { randomUUID } from 'node:crypto'
import { existsSync, readdirSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { execute, rows, sql } from '@bloomery/database/sql'
import { eventually, withPostgres } from '@bloomery/testing'
import { Builds } from './builds/builds.js'
import { BUILD_LABEL, STAGER_LABEL } from './staging/labels.js'
import { type Bench, type Files, IMAGE, makeBench, workingEngines } from './testing.fixture.js'

const script = (body: string) => ({ body: `#!/bin/bash\n${body}\n`, mode: 0o755 })
/** A buildpack of shell scripts; what is not given says nothing and succeeds. */
const buildpack = (scripts: Readonly<Record<string, string>>): Files => ({
  'bin/detect': script(scripts['detect'] ?? 'echo ours'),
  'bin/supply': script(scripts['supply'] ?? 'true'),
  'bin/finalize': script(scripts['finalize'] ?? 'true'),
  'bin/release': script(scripts['release'] ?? 'echo "default_process_types: {web: ./run}"'),
  ...Object.fromEntries(Object.entries(scripts).map(([name, body]) => [`bin/${name}`, script(body)])),
})
const APP: Files = { run: 'x' }

// The stager itself knows no engine; the one that is the default shows it, the other where there is time for both.
const WHOLE = process.env['BLOOMERY_TEST_FULL'] === '1'
for (const [kind, works] of await workingEngines())
  (works && (WHOLE || kind === 'docker') ? describe : describe.skip)(`the stager on the ${kind} engine`, () => {
    const database = withPostgres()
    let bench: Bench
    beforeAll(async () => {
      bench = await makeBench(database.pool, { engine: kind })
      await bench.addBuildpack('plain', buildpack({}), { position: 1 })
      await bench.addBuildpack('slow', buildpack({ finalize: 'echo started; sleep 60' }), { position: 2 })
      await bench.addBuildpack('hungry', buildpack({ finalize: `python3 -c 'x = bytearray(600 << 20); print(len(x))'` }), {
        position: 3,
      })
      await bench.addBuildpack(
        'wide',
        buildpack({ finalize: 'for i in $(seq 40); do head -c 20M /dev/zero > $1/$i; sleep 0.2; done; sleep 20' }),
      )
    }, 60_000)
    afterAll(() => bench.close(), 60_000)

    const ready = async (options?: Parameters<Bench['makeStager']>[0]) => {
      const stager = bench.makeStager(options)
      await eventually(() => stager.isReady)
      return stager
    }
    const nothingLeft = async (nodeId: string) => {
      await eventually(async () => (await bench.engine.list('staging')).length === 0, { timeoutMs: 20_000 })
      await eventually(() => readdirSync(join(bench.home, `builds-${nodeId}`)).length === 0, { timeoutMs: 20_000 })
    }

    it('streams output while it comes, in order, and leaves nothing behind', async () => {
      const stager = await ready({ nodeId: 'stream' })
      await bench.addBuildpack(
        'chatty',
        buildpack({ finalize: 'for i in 1 2 3; do echo line $i; echo err $i >&2; sleep 0.7; done' }),
        { position: 9 },
      )
      bench.logs.lines.length = 0
      const { build } = await bench.addBuild({ files: APP, buildpacks: ['chatty'] })
      await stager.offer(build)
      expect(await bench.build(build)).toMatchObject({ state: 'STAGED', attempts: 1 })
      const lines = bench.logs.lines.filter(({ text }) => /^(line|err) \d$/.test(text))
      const of = (prefix: string) => lines.filter(({ text }) => text.startsWith(prefix))
      expect(of('line').map(({ text }) => text)).toEqual(['line 1', 'line 2', 'line 3'])
      expect(of('err').map(({ text, stream }) => `${text} ${stream}`)).toEqual(['err 1 ERR', 'err 2 ERR', 'err 3 ERR'])
      expect(lines.every(({ source }) => source === 'STG')).toBe(true)
      expect(of('line')[2]!.at - of('line')[0]!.at).toBeGreaterThan(1_000)
      await nothingLeft('stream')
      await stager.close()
    }, 60_000)

    it('tells what lies on the machine without need, and removes it when an operator asks', async () => {
      const gone = randomUUID()
      await mkdir(join(bench.home, 'caches', gone), { recursive: true })
      await writeFile(join(bench.home, 'caches', gone, 'file'), Buffer.alloc(200_000))
      const stager = await ready({ nodeId: 'tidy' })
      const listed = () =>
        rows<{ path: string; kind: string; bytes: bigint }>(
          bench.pool,
          sql`SELECT path, kind, bytes FROM machine_leftovers WHERE node_id = 'tidy' AND path LIKE 'caches/%'`,
        )
      await eventually(async () => (await listed()).length === 1, { timeoutMs: 30_000 })
      const [found] = await listed()
      expect(found).toMatchObject({ path: `caches/${gone}`, kind: 'cache' })
      expect(Number(found?.bytes)).toBeGreaterThanOrEqual(200_000)
      expect(existsSync(join(bench.home, 'caches', gone))).toBe(true)
      await execute(bench.pool, sql`UPDATE machine_leftovers SET asked_at = now() WHERE node_id = 'tidy'`)
      await eventually(async () => (await listed()).length === 0, { timeoutMs: 30_000 })
      expect(existsSync(join(bench.home, 'caches', gone))).toBe(false)
      await stager.close()
    }, 90_000)

    it('stages again what a killed stager left, whose container and files go first', async () => {
      const { build, app } = await bench.addBuild({ files: APP, buildpacks: ['plain'] })
      // What a stager leaves that is killed in the midst of a build: its claim, its container, its folder.
      await new Builds(bench.pool, 'stager:killed:earlier').claim(build)
      await bench.engine.create({
        name: `${build}-1`,
        purpose: 'staging',
        labels: { [BUILD_LABEL]: build, [STAGER_LABEL]: 'killed' },
        image: IMAGE,
        command: ['sleep', '600'],
        environment: { PATH: '/usr/bin:/bin' },
        mounts: [],
        layers: [],
        memoryMb: 64,
        diskMb: 64,
        cpuWeight: 10,
        pidsLimit: 64,
        fileDescriptors: 1024,
        logRateLimit: -1,
      })
      await bench.engine.start(`${build}-1`)
      const left = join(bench.home, 'builds-killed', `${build}-1`)
      await mkdir(left, { recursive: true })
      await writeFile(join(left, 'file'), '')
      bench.logs.lines.length = 0
      const stager = await ready({ nodeId: 'killed' })
      await eventually(async () => (await bench.build(build))?.state === 'STAGED', { timeoutMs: 30_000 })
      expect(await bench.build(build)).toMatchObject({ attempts: 2 })
      expect(bench.logs.text).toContain('The stager was interrupted; staging once more')
      expect(existsSync(left)).toBe(false)
      await nothingLeft('killed')
      expect(bench.nudges).toContainEqual({ topic: 'changed', kind: 'build', guid: build })
      expect(app).toBeTruthy()
      await stager.close()
    }, 90_000)

    it('takes over what a stager on another machine lost, and gives up with a reason when that happens again', async () => {
      const stager = await ready({ nodeId: 'other' })
      const lost = async (attempts: number) => {
        const { build } = await bench.addBuild({ files: APP, buildpacks: ['plain'] })
        await execute(
          bench.pool,
          sql`UPDATE builds SET claimed_by = ${`stager:gone:${randomUUID()}`}, attempts = ${attempts}, claim_token = ${attempts},
                claim_expires_at = clock_timestamp() + interval '1 second' WHERE guid = ${build}`,
        )
        return build
      }
      const [once, twice] = [await lost(1), await lost(2)]
      await eventually(async () => (await bench.build(once))?.state === 'STAGED', { timeoutMs: 40_000 })
      await eventually(async () => (await bench.build(twice))?.state === 'FAILED', { timeoutMs: 40_000 })
      expect((await bench.build(twice))?.error).toMatch(/^StagingError - Staging error: the stager was lost 2 times/)
      await stager.close()
    }, 120_000)

    it('hands back what it is stopped in, and the next one stages it', async () => {
      const first = await ready({ nodeId: 'stopped' })
      bench.logs.lines.length = 0
      const { build } = await bench.addBuild({ files: APP, buildpacks: ['slow'] })
      void first.offer(build)
      await eventually(() => bench.logs.text.includes('started'), { timeoutMs: 30_000 })
      await first.close()
      expect(await bench.build(build)).toMatchObject({ state: 'STAGING', attempts: 0 })
      await nothingLeft('stopped')
    }, 90_000)

    it('ends a cancelled build, one that takes too long, too much memory or too much disk, and says so', async () => {
      const stager = await ready({ nodeId: 'limits', timeoutMs: 6_000 })
      const cancelled = await bench.addBuild({ files: APP, buildpacks: ['slow'] })
      bench.logs.lines.length = 0
      const working = stager.offer(cancelled.build)
      await eventually(() => bench.logs.text.includes('started'), { timeoutMs: 30_000 })
      await execute(bench.pool, sql`UPDATE builds SET cancel_requested = true WHERE guid = ${cancelled.build}`)
      await working
      expect((await bench.build(cancelled.build))?.error).toBe('StagingError - Staging error: staging was cancelled')
      const slow = await bench.addBuild({ files: APP, buildpacks: ['slow'] })
      await stager.offer(slow.build)
      expect((await bench.build(slow.build))?.error).toBe(
        'StagingError - Staging error: staging took longer than 6 seconds and was ended',
      )
      await stager.close()
      const patient = await ready({ nodeId: 'limits' })
      const hungry = await bench.addBuild({ files: APP, buildpacks: ['hungry'], memoryMb: 128 })
      const wide = await bench.addBuild({ files: APP, buildpacks: ['wide'], diskMb: 128 })
      await Promise.all([patient.offer(hungry.build), patient.offer(wide.build)])
      expect((await bench.build(hungry.build))?.error).toMatch(
        /needed more than its 128 MB of memory and was ended \(out of memory(; python3 had asked for \d+ MB)?\)$/,
      )
      expect((await bench.build(wide.build))?.error).toMatch(
        /(used more than its 128 MB of disk and was ended|no space left on device)/,
      )
      expect((await bench.build(wide.build))?.failure?.nextStep).toMatch(/cf push -k/)
      await nothingLeft('limits')
      await patient.close()
    }, 180_000)

    it('uses the droplet again where nothing has changed, and stages anew where anything has or where asked to', async () => {
      const stager = await ready({ nodeId: 'again' })
      const files: Files = { ...APP, 'folder/file': 'one' }
      const stage = async (options: Partial<Parameters<Bench['addBuild']>[0]>) => {
        const { build, app } = await bench.addBuild({ files, buildpacks: ['plain'], ...options })
        await stager.offer(build)
        const row = await bench.build(build)
        if (row?.state !== 'STAGED') throw new Error(bench.logs.text)
        return { build, app, droplet: row.droplet_guid }
      }
      const first = await stage({})
      const { app } = first
      bench.logs.lines.length = 0
      const again = await stage({ app })
      expect(again.droplet).toBe(first.droplet)
      expect(bench.logs.text).toMatch(/Same files, same buildpacks, same settings/)
      const [inputs] = await rows(
        bench.pool,
        sql`SELECT d.inputs, b.reused, b.finished_at - b.started_at < interval '1 second' AS quick FROM droplets d JOIN builds b ON b.droplet_guid = d.guid WHERE b.guid = ${again.build}`,
      )
      expect(inputs).toMatchObject({
        reused: true,
        quick: true,
        inputs: {
          bits: { content: expect.stringMatching(/^sha256:[0-9a-f]{64}$/) },
          buildpacks: [{ name: 'plain', checksum: expect.stringMatching(/^sha256:[0-9a-f]{64}$/) }],
          stack: { name: 'cflinuxfs4', image: IMAGE, digest: expect.stringMatching(/./) },
        },
      })
      for (const change of [
        { files: { ...files, 'folder/file': 'two' } },
        { environment: { COLOUR: 'blue' } },
        { buildpacks: ['plain', 'plain'] },
        { app: undefined as unknown as string },
      ])
        expect((await stage({ app, ...change })).droplet).not.toBe(first.droplet)
      // The same package once more, as `cf restage` has it.
      const restage = await bench.addBuild({ files, buildpacks: ['plain'], app })
      await execute(
        bench.pool,
        sql`UPDATE builds SET package_guid = (SELECT package_guid FROM builds WHERE guid = ${first.build}) WHERE guid = ${restage.build}`,
      )
      await stager.offer(restage.build)
      expect((await bench.build(restage.build))?.droplet_guid).not.toBe(first.droplet)
      await stager.close()
    }, 90_000)

    it.each<[string, Readonly<Record<string, string>>, RegExp, RegExp]>([
      [
        'detect says no',
        { detect: 'exit 1' },
        /^NoAppDetectedError - /,
        /None of the buildpacks detected a compatible application/,
      ],
      [
        'finalize fails',
        { finalize: 'echo broken; exit 7' },
        /^BuildpackCompileFailed - App staging failed in the buildpack compile phase$/,
        /Failed to compile droplet: Failed to run finalize script: exit status 7/,
      ],
      ['supply fails', { supply: 'exit 3' }, /^BuildpackCompileFailed - /, /Failed to run all supply scripts: exit status 3/],
      ['release fails', { release: 'exit 3' }, /^BuildpackReleaseFailed - /, /Failed to build droplet release: exit status 3/],
      ['release prints no YAML', { release: 'echo "{"' }, /^BuildpackReleaseFailed - /, /release output invalid/],
    ])(
      'CF’s errors: %s',
      async (_name, scripts, error, log) => {
        const stager = await ready({ nodeId: 'errors' })
        await execute(bench.pool, sql`UPDATE buildpacks SET enabled = false`)
        await bench.addBuildpack(`custom-${randomUUID()}`, buildpack(scripts), { position: 20 })
        bench.logs.lines.length = 0
        const { build } = await bench.addBuild({ files: APP })
        await stager.offer(build)
        expect((await bench.build(build))?.error).toMatch(error)
        expect(bench.logs.text).toMatch(log)
        await execute(bench.pool, sql`DELETE FROM buildpacks WHERE name LIKE 'custom-%'`)
        await execute(bench.pool, sql`UPDATE buildpacks SET enabled = true`)
        await stager.close()
      },
      60_000,
    )

    it('several buildpacks: supplied paths and variables reach the last one; a Procfile wins', async () => {
      const stager = await ready({ nodeId: 'several' })
      await bench.addBuildpack(
        'first',
        buildpack({ supply: 'mkdir -p $3/$4/bin $3/$4/env; printf v1 > $3/$4/env/FROM_FIRST; echo supplied $4' }),
        { position: 5 },
      )
      await bench.addBuildpack(
        'last',
        buildpack({ finalize: 'ls $3; cat $3/0/env/FROM_FIRST; echo; echo "$CF_STACK $CF_INSTANCE_PORTS"' }),
        { position: 6 },
      )
      bench.logs.lines.length = 0
      const { build } = await bench.addBuild({
        files: { ...APP, Procfile: 'web: ./run fast\nworker: ./work\n' },
        buildpacks: ['first', 'last'],
      })
      await stager.offer(build)
      const row = await bench.build(build)
      if (row?.state !== 'STAGED') throw new Error(bench.logs.text)
      const droplet = await bench.droplet(row.droplet_guid)
      expect(droplet.process_types).toEqual({ web: './run fast', worker: './work' })
      expect(droplet.buildpacks.map(({ name }) => name)).toEqual(['first', 'last'])
      expect(bench.logs.text).toMatch(/supplied 0[\s\S]*\n0\n1\nv1\ncflinuxfs4 \[\]/)
      await stager.close()
    }, 60_000)

    it('names what is missing: an unknown or disabled buildpack, a package that is gone', async () => {
      const stager = await ready({ nodeId: 'missing' })
      const error = async (options: Parameters<Bench['addBuild']>[0], before?: (build: string) => Promise<unknown>) => {
        const { build } = await bench.addBuild(options)
        await before?.(build)
        await stager.offer(build)
        return (await bench.build(build))?.error
      }
      expect(await error({ files: APP, buildpacks: ['nobody'] })).toMatch(
        /the buildpack 'nobody' does not exist for the stack cflinuxfs4/,
      )
      await bench.addBuildpack('off', buildpack({}), { position: 7, enabled: false })
      expect(await error({ files: APP, buildpacks: ['off'] })).toMatch(/the buildpack 'off' is disabled/)
      const gone = await error({ files: APP, buildpacks: ['plain'] }, async (build) =>
        bench.blobstore.delete(await bench.packageKey(build)),
      )
      expect(gone).toMatch(/the package is gone from the blob store/)
      expect(await error({ files: APP, buildpacks: ['https://127.0.0.1:1/x.zip'] })).toBe(
        'StagingError - Staging error: staging failed',
      )
      expect(bench.logs.text).toMatch(/Failed to download buildpack 'https:\/\/127\.0\.0\.1:1\/x\.zip'/)
      await stager.close()
    }, 90_000)
  })
