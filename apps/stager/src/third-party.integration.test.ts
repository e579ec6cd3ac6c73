import { execFileSync } from 'node:child_process'
import { createServer, type Server } from 'node:http'
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { rows, sql } from '@bloomery/database/sql'
import { describeWithDocker, eventually, withPostgres } from '@bloomery/testing'
import { type Bench, type Files, makeBench, serving, zipOf } from './testing.fixture.js'

const HOST = 'buildpacks.test'
const script = (body: string) => ({ body: `#!/usr/bin/env bash\nset -e\n${body}\n`, mode: 0o755 })
/** Of the kind that Heroku's are: detect, compile, release; finds its own files where it starts, writes beside its scripts, counts in its cache. */
const classic = (say: string): Files => ({
  'bin/detect': script(`[ -f "$1/index.html" ] && echo ${say}`),
  'bin/compile': script(
    `test $# = 2; id -un; echo "stack $CF_STACK"; count=$(( $(cat "$2/count" 2>/dev/null || echo 0) + 1 )); echo $count > "$2/count"; echo "run $count"
     cat carried/file; echo 'export FROM=export' > "$(dirname "$0")/../export"; mkdir -p "$1/.profile.d"; echo 'export GREETING=${say}' > "$1/.profile.d/x.sh"`,
  ),
  'carried/file': 'carried along\n',
  'bin/release': script(`printf -- '---\\nconfig_vars: {}\\ndefault_process_types:\\n  web: python3 -m http.server $PORT\\n'`),
})
const inFolder = (files: Files, folder: string): Files =>
  Object.fromEntries(Object.entries(files).map(([name, file]) => [`${folder}/${name}`, file]))
const APP: Files = { 'index.html': 'hello\n' }

;(await describeWithDocker())("other people's buildpacks", () => {
  const database = withPostgres()
  let bench: Bench
  let stager: ReturnType<Bench['makeStager']>
  let server: Server
  let folder: string
  let address: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'third-party-'))
    server = createServer((request, response) => {
      readFile(join(folder, new URL(request.url ?? '/', 'http://x').pathname)).then(
        (bytes) => response.end(bytes),
        () => response.writeHead(404).end(),
      )
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    address = `http://${HOST}:${port}`
    bench = await makeBench(database.pool, { platform: { bind: '127.0.0.1', ports: [port], hosts: [HOST] } })
    stager = bench.makeStager({ concurrency: 3 })
    await eventually(() => stager.isReady)
  }, 60_000)
  afterAll(async () => {
    await bench.close()
    server.close()
    await rm(folder, { recursive: true, force: true })
  }, 60_000)

  const stage = async (options: Partial<Parameters<Bench['addBuild']>[0]>) => {
    bench.logs.lines.length = 0
    const { build, app } = await bench.addBuild({ files: APP, ...options })
    await stager.offer(build)
    const row = (await bench.build(build))!
    return { row, app, log: bench.logs.text, droplet: row.state === 'STAGED' ? await bench.droplet(row.droplet_guid) : undefined }
  }

  it('of the classic kind: as vcap, with a cache, a folder to write in, its stack, .profile.d and release alone', async () => {
    await bench.addBuildpack('classic', inFolder(classic('classic'), 'classic-buildpack-1.0'), { position: 1 })
    const first = await stage({})
    if (!first.droplet) throw new Error(first.log)
    expect(first.log).toMatch(/vcap\nstack cflinuxfs4\nrun 1\ncarried along\n/)
    expect(first.droplet.buildpacks).toEqual([
      { name: 'classic', detect_output: 'classic', version: null, buildpack_name: 'classic' },
    ])
    const web = first.droplet.process_types['web'] ?? ''
    const seen = await bench.inDroplet(
      first.droplet.sha256,
      `. .profile.d/x.sh; echo "$GREETING"; ${serving(web, 'curl -s localhost:$PORT/')}`,
    )
    expect(seen).toMatch(/classic\n[^]*hello\n/)
    const second = await stage({ app: first.app, files: { ...APP, more: 'x' } })
    expect(second.log).toContain('run 2')
  }, 90_000)

  it('from a git address with a tag or branch, and from a zip file; what was there is recorded', async () => {
    const work = join(folder, 'work')
    await mkdir(work)
    const git = (...args: string[]) =>
      execFileSync('git', ['-c', 'user.name=x', '-c', 'user.email=x@x', ...args], { cwd: work, encoding: 'utf8' }).trim()
    git('init', '-q', '-b', 'main')
    const commit = async (say: string) => {
      for (const [name, file] of Object.entries(classic(say))) {
        const { body, mode } = typeof file === 'string' ? { body: file, mode: undefined } : file
        await mkdir(dirname(join(work, name)), { recursive: true })
        await writeFile(join(work, name), body, { mode: mode ?? 0o644 })
      }
      git('add', '-A')
      git('commit', '-qm', say)
      return git('rev-parse', 'HEAD')
    }
    const tagged = await commit('tagged')
    git('tag', 'v1.0')
    const newest = await commit('newest')
    execFileSync('git', ['clone', '-q', '--bare', work, join(folder, 'bp.git')])
    execFileSync('git', ['update-server-info'], { cwd: join(folder, 'bp.git') })
    await writeFile(join(folder, 'bp.zip'), await buffer(await zipOf(classic('zipped'))))
    const [byTag, byBranch, byZip] = await Promise.all([
      stage({ buildpacks: [`${address.replace('//', '//me:secret@')}/bp.git#v1.0`] }),
      stage({ buildpacks: [`${address}/bp.git`] }),
      stage({ buildpacks: [`${address}/bp.zip`] }),
    ])
    for (const [done, say, checksum] of [
      [byTag, 'tagged', `git:${tagged}`],
      [byBranch, 'newest', `git:${newest}`],
      [byZip, 'zipped', undefined],
    ] as const) {
      if (!done.droplet) throw new Error(done.log)
      expect(await bench.inDroplet(done.droplet.sha256, '. .profile.d/x.sh; echo "$GREETING"')).toContain(say)
      const [kept] = await rows<{ inputs: { buildpacks: { name: string; checksum: string }[] } }>(
        bench.pool,
        sql`SELECT inputs FROM droplets WHERE guid = ${done.row.droplet_guid}`,
      )
      expect(kept?.inputs.buildpacks[0]?.checksum).toEqual(checksum ?? expect.stringMatching(/^sha256:[0-9a-f]{64}$/))
      expect(JSON.stringify(kept)).not.toContain('secret')
    }
    const missing = await stage({ buildpacks: [`${address}/bp.git#v9`] })
    expect(missing.row.error).toBe('StagingError - Staging error: staging failed')
    expect(missing.row.failure?.cause).toBe('buildpack-unavailable')
    expect(missing.log).toMatch(/Failed to checkout branch 'v9'/)
  }, 120_000)

  it('twelve at once: indexes with two digits, what the first supplies reaches the last, launch.yml and config.yml count', async () => {
    await bench.addBuildpack('supplier', {
      'bin/supply': script(
        'mkdir -p "$3/$4/bin" "$3/$4/profile.d"; printf "name: supplier\\nversion: 1.2.3\\n" > "$3/$4/config.yml"; echo "index $4"',
      ),
    })
    await bench.addBuildpack('finisher', {
      'bin/supply': script('true'),
      'bin/finalize': script(`ls "$3" | tr '\\n' ' '; echo; echo "profile $5"; echo 'export LAST=yes' > "$5/last.sh"
        printf 'processes:\\n- {type: web, command: ./launched}\\n- {type: helper, command: ./help, platforms: {cloudfoundry: {sidecar_for: [web]}}}\\n' > "$3/$4/launch.yml"`),
      'bin/release': script('exit 1'),
    })
    const { row, log, droplet } = await stage({ buildpacks: [...Array.from({ length: 11 }, () => 'supplier'), 'finisher'] })
    if (!droplet) throw new Error(`${row.error}\n${log}`)
    expect(log).toContain('index 00\nindex 01')
    expect(log).toContain('00 01 02 03 04 05 06 07 08 09 10 11 ')
    expect(droplet.process_types).toEqual({ web: './launched' })
    expect(droplet.buildpacks).toHaveLength(12)
    expect(droplet.buildpacks[0]).toMatchObject({ name: 'supplier', buildpack_name: 'supplier', version: '1.2.3' })
    expect((await stat(join(bench.droplets, droplet.sha256, 'profile.d/last.sh'))).uid).toBe(2000)
    const noSupply = await stage({ buildpacks: ['classic', 'finisher'] })
    expect(noSupply.log).toMatch(/does not support multi-buildpack apps/)
    expect(noSupply.row.failure?.cause).toBe('buildpack-unavailable')
    await bench.addBuildpack('broken', { 'readme.md': 'x', 'other.md': 'y' })
    expect((await stage({ buildpacks: ['broken'] })).log).toMatch(/malformed buildpack does not contain a \/bin dir/)
  }, 120_000)
})
