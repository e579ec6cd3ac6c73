import { execFileSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describeWithDocker, eventually } from '@bloomery/testing'
import { withStaging } from './staging-under-test.fixture.js'
import { type DropletRow, type Files, serving } from './testing.fixture.js'

const MS_LOCK = {
  name: 'a',
  version: '1.0.0',
  lockfileVersion: 3,
  packages: {
    '': { name: 'a', version: '1.0.0', dependencies: { ms: '2.1.3' } },
    'node_modules/ms': {
      version: '2.1.3',
      integrity: 'sha512-6FlzubTLZG3J2a/NVCAleEhjzq5oxgHyaCU9yYXvcLsvoVaHJq/s5xXI6/XXP6tz7R9xAOtHnSO/tXtF3WRTlA==',
    },
  },
}
const WITH_LOCK: Files = {
  'package.json': '{"name":"a","version":"1.0.0","scripts":{"start":"node x"},"dependencies":{"ms":"2.1.3"}}',
  'package-lock.json': JSON.stringify(MS_LOCK),
}

;(await describeWithDocker())('system buildpacks', () => {
  const staging = withStaging()
  const { stage, staged } = staging

  it('an archive and the layers handed to the cell hold the same, newly made or restored', async () => {
    const first = await staged({ files: WITH_LOCK })
    const second = await staged({ files: { ...WITH_LOCK, 'new.txt': 'new' }, app: first.app })
    expect(second.log).toContain('node_modules restored from the last droplet')
    for (const { droplet } of [first, second]) await compareWithLayers(droplet)
    const [, ...layers] = await staging.bench.foldersOf(second.droplet.sha256)
    expect(layers).toEqual((await staging.bench.foldersOf(first.droplet.sha256)).slice(1))
    expect(layers).toHaveLength(3)
    // Without the layers, as on another machine, the last droplet's archive serves.
    await staging.bench.forgetLayers()
    const third = await staged({ files: { ...WITH_LOCK, 'new.txt': 'newer' }, app: first.app })
    expect(third.log).toContain('node_modules restored from the last droplet')
    await compareWithLayers(third.droplet)
  }, 180_000)

  it('another app of the space with the same lock installs nothing, and stands on the same layers', async () => {
    const locked: Files = { ...WITH_LOCK, '.npmrc': 'audit=false\n' }
    const first = await staged({ files: locked })
    expect(first.log).toContain('Installing node modules')
    const described = { ...JSON.parse(String(locked['package.json'])), description: 'another', scripts: { start: 'node y' } }
    const files: Files = { ...locked, 'package.json': JSON.stringify(described) }
    const another = await staged({ files, environment: { COLOUR: 'green' } })
    expect(another.log).toContain('node_modules restored from another app of this space with the same lock')
    await compareWithLayers(another.droplet)
    const layersOf = async ({ droplet }: { droplet: DropletRow }) => (await staging.bench.foldersOf(droplet.sha256)).slice(1)
    expect(await layersOf(another)).toEqual(await layersOf(first))
    const changed = { ...MS_LOCK, packages: { ...MS_LOCK.packages, '': { ...MS_LOCK.packages[''], license: 'MIT' } } }
    const other = await staged({ files: { ...files, 'package-lock.json': JSON.stringify(changed) } })
    expect(other.log).toContain('Installing node modules')
  }, 180_000)

  const compareWithLayers = async (droplet: DropletRow) => {
    const out = await mkdtemp(join(tmpdir(), 'droplet-'))
    try {
      await mkdir(join(out, 'archive'))
      await mkdir(join(out, 'layers'))
      execFileSync('tar', ['-xzf', staging.bench.blobstore.localPath(droplet.blob_key)!, '-C', join(out, 'archive')])
      for (const folder of (await staging.bench.foldersOf(droplet.sha256)).reverse())
        execFileSync('cp', ['-a', `${folder}/.`, join(out, 'layers')])
      execFileSync('diff', ['-r', '--no-dereference', join(out, 'archive'), join(out, 'layers')])
      const listed = (root: string) =>
        execFileSync('find', ['.', '-printf', '%y %m %U %l %P\\n'], { cwd: join(out, root), encoding: 'utf8' })
          .split('\n')
          .sort()
      expect(listed('layers')).toEqual(listed('archive'))
      expect(JSON.parse(await readFile(join(out, 'archive/staging_info.yml'), 'utf8'))).toEqual({
        detected_buildpack: 'nodejs',
        start_command: 'npm start',
      })
    } finally {
      await rm(out, { recursive: true, force: true })
    }
  }

  it('serves by every key of a Staticfile', async () => {
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
    const seen = await staging.bench.inDroplet(
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

  it.each<[string, Files, string[], RegExp]>([
    [
      'no Node of that version',
      { 'package.json': '{"engines":{"node":"99.x"}}' },
      [],
      /no version of node matches '99\.x'\. Available: \d+\.\d+\.\d+, /,
    ],
    ['no range', { 'package.json': '{"engines":{"node":"the best"}}' }, [], /'the best' is not a version range/],
    [
      'a package that is not there',
      { 'package.json': '{"dependencies":{"no-such-package-of-ours-1234":"1"}}' },
      [],
      /no-such-package-of-ours-1234[\s\S]*npm install failed with exit status 1/,
    ],
    ['a Pipfile without lock', { Pipfile: '' }, [], /Pipfile has no Pipfile\.lock beside it/],
    ['conda', { 'environment.yml': '' }, [], /environment\.yml needs conda/],
    ['status codes that are none', { Staticfile: 'status_codes: {abc: /x}' }, [], /is not a status code and a page/],
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
    [
      'a Gemfile without lock',
      { Gemfile: "source 'https://gems.example'\n" },
      [],
      /Gemfile\.lock is missing: run bundle install/,
    ],
    [
      'another Ruby',
      { Gemfile: "ruby '2.7.0'\n", 'Gemfile.lock': 'GEM\n' },
      [],
      /no version of ruby matches '2\.7\.0'\. Available: 3\.1\.\d/,
    ],
    [
      'another PHP',
      { 'composer.json': '{"require":{"php":"^7.4"}}' },
      [],
      /no version of php matches '\^7\.4'\. Available: 8\.2\.\d+/,
    ],
    [
      'an nginx.conf without port',
      { 'nginx.conf': 'events {}\nhttp { server { listen 80; } }\n' },
      [],
      /no \{\{port\}\} in nginx\.conf/,
    ],
    [
      'an nginx.conf with a mistake',
      { 'nginx.conf': 'events {}\nhttp { server { listen {{port}}; nonsense on; } }\n' },
      [],
      /contains syntax errors:[\s\S]*unknown directive "nonsense"/,
    ],
    ['Java without an app', { 'file.txt': '' }, ['java_buildpack'], /no app that Java could start was found/],
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

  it('installs by yarn.lock; a Python app may need no packages', async () => {
    const yarn = await staged({
      files: {
        'package.json': '{"name":"a","version":"1.0.0","scripts":{"start":"node x"},"dependencies":{"ms":"2.1.3"}}',
        'yarn.lock': 'ms@2.1.3:\n  version "2.1.3"\n',
      },
    })
    expect(yarn.log).toMatch(/Installing yarn 1\.\d+\.\d+[\s\S]*Installing node modules \(yarn\.lock\)/)
    expect(await staging.bench.inDroplet(yarn.droplet.sha256, `node -p "require('ms')('1m')"; yarn --version`)).toMatch(
      /^60000\n1\./,
    )
    const none = await staged({
      files: { 'requirements.txt': '# nothing\n', Procfile: 'web: python3 -V\n', '.python-version': '3.11\n' },
    })
    expect(none.log).toMatch(/\.python-version: 3\.11/)
    expect(await staging.bench.inDroplet(none.droplet.sha256, 'python3 -V')).toMatch(/^Python 3\.11/)
  }, 180_000)

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
    expect(await readFile(join(staging.bench.droplets, droplet.sha256, 'app/built.txt'), 'utf8')).toBe('2\n')
    await eventually(async () => (await staging.bench.engine.list('staging')).length === 0)
    await eventually(() => readdirSync(join(staging.bench.home, 'builds-test')).length === 0)
  }, 120_000)
})
