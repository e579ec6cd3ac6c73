import { execFileSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describeWithDocker, eventually, withPostgres } from '@bloomery/testing'
import { type Bench, examplePath, type Files, IMAGE, makeBench, serving } from './testing.fixture.js'

const SYSTEM = ['staticfile_buildpack', 'nodejs_buildpack', 'python_buildpack', 'binary_buildpack']

;(await describeWithDocker())('system buildpacks', () => {
  const database = withPostgres()
  let bench: Bench
  let stager: ReturnType<Bench['makeStager']>
  beforeAll(async () => {
    bench = await makeBench(database.pool, { systemBuildpacks: SYSTEM })
    stager = bench.makeStager()
    await eventually(() => stager.isReady)
  }, 60_000)
  afterAll(() => bench.close(), 60_000)

  const stage = async (options: Parameters<Bench['addBuild']>[0]) => {
    bench.logs.lines.length = 0
    const { build, app } = await bench.addBuild(options)
    await stager.offer(build)
    return { row: (await bench.build(build))!, app, log: bench.logs.text }
  }
  const staged = async (options: Parameters<Bench['addBuild']>[0]) => {
    const done = await stage(options)
    if (done.row.state !== 'STAGED') throw new Error(`${done.row.error}\n${done.log}`)
    return { ...done, droplet: await bench.droplet(done.row.droplet_guid) }
  }

  it('stages the Express example, and a second time without installing', async () => {
    const first = await staged({ files: examplePath('express-app') })
    expect(first.droplet.process_types).toEqual({ web: 'npm start' })
    expect(first.droplet.buildpacks).toEqual([
      { name: 'nodejs_buildpack', detect_output: 'nodejs', version: '1.0.0', buildpack_name: 'nodejs' },
    ])
    expect(first.log).toMatch(/Installing node 22\.\d+\.\d+/)
    expect(first.log).toContain('Uploading droplet, build artifacts cache...')
    const answer = await bench.inDroplet(
      first.droplet.sha256,
      serving('npm start', 'curl -s localhost:$PORT/health; echo; npm --version; node --version'),
    )
    expect(answer).toMatch(/"status":"ok"/)
    expect(answer).toMatch(/^10\.\d+\.\d+$/m)
    expect(answer).toMatch(/^v22\./m)
    const startedAt = Date.now()
    const second = await staged({ files: examplePath('express-app'), app: first.app })
    expect(second.log).toContain('node_modules restored from the last droplet')
    expect(Date.now() - startedAt).toBeLessThan(15_000)
    const archive = bench.blobstore.localPath(second.droplet.blob_key)!
    const names = execFileSync('tar', ['-tzf', archive], { encoding: 'utf8', maxBuffer: 1 << 26 }).split('\n')
    for (const name of [
      './app/',
      './deps/',
      './profile.d/',
      './tmp/',
      './logs/',
      './staging_info.yml',
      './app/node_modules/express/package.json',
    ])
      expect(names).toContain(name)
  }, 240_000)

  it('an archive and the folder handed to the cell hold the same', async () => {
    const { droplet } = await staged({ files: examplePath('hello-node') })
    const out = await mkdtemp(join(tmpdir(), 'droplet-'))
    try {
      execFileSync('tar', ['-xzf', bench.blobstore.localPath(droplet.blob_key)!, '-C', out])
      execFileSync('diff', ['-r', '--no-dereference', out, join(bench.droplets, droplet.sha256)])
      expect(JSON.parse(await readFile(join(out, 'staging_info.yml'), 'utf8'))).toEqual({
        detected_buildpack: 'nodejs',
        start_command: 'npm start',
      })
    } finally {
      await rm(out, { recursive: true, force: true })
    }
  }, 120_000)

  it('stages the Flask example, and a second time without installing', async () => {
    const first = await staged({ files: examplePath('flask-app') })
    expect(first.droplet.process_types['web']).toMatch(/^gunicorn/)
    const command = first.droplet.process_types['web']!
    expect(await bench.inDroplet(first.droplet.sha256, serving(command, 'curl -s localhost:$PORT/'))).toMatch(
      /^Hello from flask-app, instance 0, Python 3\.11/,
    )
    const second = await staged({ files: examplePath('flask-app'), app: first.app })
    expect(second.log).toContain('packages restored from the last droplet')
    expect(await bench.inDroplet(second.droplet.sha256, serving(command, 'curl -s localhost:$PORT/'))).toMatch(/^Hello from/)
  }, 240_000)

  it('stages the static example and every key of a Staticfile', async () => {
    const plain = await staged({ files: examplePath('static-site') })
    const look = serving(
      plain.droplet.process_types['web']!,
      'curl -si localhost:$PORT/; curl -s -o /dev/null -w "%{http_code}\\n" localhost:$PORT/Staticfile; curl -s localhost:$PORT/none',
    )
    const answer = await bench.inDroplet(plain.droplet.sha256, look)
    expect(answer).toContain('A static site')
    expect(answer).not.toMatch(/nginx\//)
    expect(answer).toContain('404')
    expect(answer).toContain('Not here')
    const keys: Files = {
      Staticfile: [
        'root: dist',
        'directory: visible',
        'ssi: enabled',
        'pushstate: enabled',
        'http_strict_transport_security: true',
        'http_strict_transport_security_include_subdomains: true',
        'host_dot_files: true',
        'force_https: true',
        'location_include: includes/*.conf',
      ].join('\n'),
      'Staticfile.auth': 'bob:$apr1$DuUQEQp8$ZccZCHQElNSjrg.erwSFC0\n',
      'nginx/conf/includes/extra.conf': 'add_header X-Extra yes;\n',
      'dist/index.html': 'index\n',
      'dist/.hidden': 'hidden\n',
    }
    const rich = await staged({ files: keys })
    const https = `curl -si -H 'X-Forwarded-Proto: https' -u bob:bob`
    const seen = await bench.inDroplet(
      rich.droplet.sha256,
      serving(
        rich.droplet.process_types['web']!,
        `curl -si localhost:$PORT/a?b=1; ${https} localhost:$PORT/deep/link; ${https} localhost:$PORT/.hidden`,
      ),
    )
    expect(seen).toMatch(/301 Moved[\s\S]*Location: https:\/\/localhost\/a\?b=1/)
    expect(seen).toMatch(/Strict-Transport-Security: max-age=31536000; includeSubDomains\r/)
    expect(seen).toContain('X-Extra: yes')
    expect(seen).toContain('index\n')
    expect(seen).toContain('hidden\n')
  }, 120_000)

  it('stages a compiled program by name only, with its mode kept', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'binary-'))
    try {
      execFileSync(
        'docker',
        ['run', '--rm', '-v', `${folder}:/out`, '-v', `${examplePath('binary-app')}:/src:ro`, IMAGE].concat([
          'sh',
          '-c',
          'cc -O2 -static -o /out/server /src/server.c && cp /src/Procfile /out/',
        ]),
      )
      const unnamed = await stage({ files: folder })
      expect(unnamed.row.error).toBe('NoAppDetectedError - An app was not successfully detected by any available buildpack')
      const { droplet } = await staged({ files: folder, buildpacks: ['binary_buildpack'] })
      expect(droplet.process_types).toEqual({ web: './server' })
      expect(await bench.inDroplet(droplet.sha256, serving('./server', 'curl -s localhost:$PORT/'))).toContain(
        'Hello from a compiled program',
      )
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  }, 120_000)

  it.each<[string, Files, string[], RegExp]>([
    [
      'no Node of that version',
      { 'package.json': '{"engines":{"node":"99.x"}}' },
      [],
      /no version of node matches '99\.x'\. Available: \d+\.\d+\.\d+, /,
    ],
    ['no range', { 'package.json': '{"engines":{"node":"the best"}}' }, [], /'the best' is not a version range/],
    ['broken package.json', { 'package.json': '{' }, [], /package\.json is not valid JSON/],
    [
      'another Python',
      { 'requirements.txt': '', 'runtime.txt': 'python-3.9.x' },
      [],
      /asks for Python python-3\.9\.x, which is not available[\s\S]*Available: 3\.11/,
    ],
    [
      'a requirement that is not there',
      { 'requirements.txt': 'no-such-package-of-ours==1\n' },
      [],
      /No matching distribution found/,
    ],
    ['a folder that is not there', { Staticfile: 'root: nowhere' }, [], /names the folder 'nowhere', which was not pushed/],
  ])(
    'says clearly: %s',
    async (_name, files, buildpacks, message) => {
      const { row, log } = await stage({ files, buildpacks })
      expect(row.error).toBe('BuildpackCompileFailed - App staging failed in the buildpack compile phase')
      expect(log).toMatch(message)
      expect(row.failure?.nextStep).toMatch(/./)
    },
    120_000,
  )

  it('says that there is no start command', async () => {
    const { row } = await stage({ files: { 'file.txt': 'x' }, buildpacks: ['binary_buildpack'] })
    expect(row.error).toBe('StagingError - Staging error: Start command not specified')
  }, 60_000)

  it('takes a version from .nvmrc, runs the build scripts, and leaves nothing behind', async () => {
    const files: Files = {
      'package.json': JSON.stringify({
        scripts: { 'heroku-prebuild': 'echo before', 'heroku-postbuild': 'node -p 1+1 > built.txt', start: 'node x.js' },
      }),
      '.nvmrc': 'lts/jod\n',
      'locked/': { body: '', mode: 0o040555 },
      'locked/file': 'x',
    }
    const { log, droplet } = await staged({ files })
    expect(log).toMatch(/\.nvmrc: lts\/jod/)
    expect(await readFile(join(bench.droplets, droplet.sha256, 'app/built.txt'), 'utf8')).toBe('2\n')
    await eventually(async () => (await bench.engine.list('staging')).length === 0)
    await eventually(() => readdirSync(join(bench.home, 'builds-test')).length === 0)
  }, 120_000)
})
