import { execFileSync } from 'node:child_process'
import { mkdir, mkdtemp, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { describeWithDocker } from '@bloomery/testing'
import { withStaging } from './staging-under-test.fixture.js'
import { type Files } from './testing.fixture.js'

const MS = 'sha512-6FlzubTLZG3J2a/NVCAleEhjzq5oxgHyaCU9yYXvcLsvoVaHJq/s5xXI6/XXP6tz7R9xAOtHnSO/tXtF3WRTlA=='
const listening = (says: string) =>
  `require("node:http").createServer((q, r) => r.end(${says})).listen(process.env.PORT)\nfunction has(name) { try { require(name); return name } catch { return "no " + name } }\n`
/** inherits is for the app, ms for its build alone. */
const BUILT: Files = {
  'server.js': listening('[has("inherits"), has("ms"), require("./built.json").minute].join()'),
  'build.js': 'require("node:fs").writeFileSync("built.json", JSON.stringify({ minute: require("ms")("1m") }))\n',
}
const packageOf = (more: Readonly<Record<string, unknown>> = {}) =>
  JSON.stringify({
    name: 'a',
    version: '1.0.0',
    scripts: { start: 'node server.js', build: 'node build.js' },
    dependencies: { inherits: '2.0.4' },
    devDependencies: { ms: '2.1.3' },
    ...more,
  })
const YARN_LOCK = 'inherits@2.0.4:\n  version "2.0.4"\n\nms@2.1.3:\n  version "2.1.3"\n'
/** A program in apps/web that needs words of its own repository and ms of the registry. */
const monorepo = (words: string): Files => ({
  'apps/web/package.json': JSON.stringify({
    name: 'web',
    version: '1.0.0',
    scripts: { start: 'node server.js' },
    dependencies: { words, ms: '2.1.3' },
  }),
  'apps/web/server.js': listening('require("words") + require("ms")("1m")'),
  'packages/words/package.json': '{"name":"words","version":"1.0.0","main":"index.js"}',
  'packages/words/index.js': 'module.exports = "words "\n',
})
const ROOT = '{"name":"all","private":true,"workspaces":["apps/*","packages/*"]}'
const YARN_4 = 'enableImmutableInstalls: false\nnodeLinker: '

// Long, and each needs its language's sources: with the longer suites only.
const suite = process.env['BLOOMERY_TEST_FULL'] === '1' ? await describeWithDocker() : describe.skip
suite('the ways of Node', () => {
  const staging = withStaging(['nodejs_buildpack'])
  const { answer, staged } = staging

  it.each<[string, Files]>([
    ['npm by its own line, without a lock', { 'package.json': packageOf({ engines: { npm: '10.8.x' } }) }],
    ['Yarn 1', { 'package.json': packageOf(), 'yarn.lock': YARN_LOCK }],
    ['pnpm of a version', { 'package.json': packageOf({ packageManager: 'pnpm@9.15.9' }) }],
    [
      'Yarn 4 with node_modules',
      { 'package.json': packageOf({ packageManager: 'yarn@4.9.1' }), '.yarnrc.yml': `${YARN_4}node-modules\n` },
    ],
    ['Yarn 4 without', { 'package.json': packageOf({ packageManager: 'yarn@4.9.1' }), '.yarnrc.yml': `${YARN_4}pnp\n` }],
  ])(
    'a build script has what serves development alone, the app has not: %s',
    async (name, files) => {
      const { text, log } = await answer({ files: { ...BUILT, ...files }, environment: { BP_NODE_RUN_SCRIPTS: 'build' } })
      expect(text).toMatch(/^inherits,no ms,60000\n/)
      expect(log).toMatch(/Running build \((npm|yarn|pnpm)\)[\s\S]*Removing development dependencies/)
      if (name.startsWith('npm')) expect(log).toMatch(/engines\.npm in package\.json: 10\.8\.x[\s\S]*Installing npm 10\.8\.\d/)
      if (name.startsWith('pnpm')) expect(log).toContain('Installing pnpm 9.15.9')
    },
    240_000,
  )

  it.each<[string, Files]>([
    ['Yarn 1', { ...monorepo('1.0.0'), 'package.json': ROOT, 'yarn.lock': 'ms@2.1.3:\n  version "2.1.3"\n' }],
    [
      'Yarn 4',
      {
        ...monorepo('workspace:*'),
        'package.json': ROOT.replace('{', '{"packageManager":"yarn@4.9.1",'),
        '.yarnrc.yml': `${YARN_4}node-modules\n`,
      },
    ],
    [
      'pnpm',
      {
        ...monorepo('workspace:*'),
        'package.json': '{"name":"all","private":true}',
        'pnpm-workspace.yaml': 'packages:\n  - apps/*\n  - packages/*\n',
        'pnpm-lock.yaml': `lockfileVersion: '9.0'\n\nimporters:\n\n  .: {}\n\n  apps/web:\n    dependencies:\n      ms:\n        specifier: 2.1.3\n        version: 2.1.3\n      words:\n        specifier: workspace:*\n        version: link:../../packages/words\n\n  packages/words: {}\n\npackages:\n\n  ms@2.1.3:\n    resolution: {integrity: ${MS}}\n\nsnapshots:\n\n  ms@2.1.3: {}\n`,
      },
    ],
  ])(
    'one program of a repository of several packages: %s',
    async (_name, files) => {
      const { text, droplet } = await answer({ files, environment: { BP_NODE_PROJECT_PATH: 'apps/web' } })
      expect(text).toMatch(/^words 60000\n/)
      expect(droplet.process_types['web']).toBe('cd apps/web && npm start')
    },
    240_000,
  )

  it('native code is compiled by the headers of that Node, and anew where it was pushed from another machine', async () => {
    const addon =
      '#include <node_api.h>\nNAPI_MODULE_INIT() { napi_value n; napi_create_int32(env, 42, &n); napi_set_named_property(env, exports, "is", n); return exports; }\n'
    const native: Files = {
      'binding.gyp': '{"targets":[{"target_name":"answer","sources":["answer.c"]}]}',
      'answer.c': addon,
    }
    const loading = listening('"native " + require("./build/Release/answer.node").is')
    const own = await answer({ files: { ...native, 'package.json': packageOf(), 'server.js': loading } })
    expect(own.text).toMatch(/^native 42\n/)
    const pushed: Files = {
      'package.json': packageOf({ dependencies: { answer: '1.0.0' } }),
      'server.js': listening('"pushed " + require("answer").is'),
      'node_modules/answer/package.json':
        '{"name":"answer","version":"1.0.0","gypfile":true,"main":"build/Release/answer.node","scripts":{"install":"node-gyp rebuild"}}',
      'node_modules/answer/build/Release/answer.node': 'of another machine',
      ...Object.fromEntries(Object.entries(native).map(([name, file]) => [`node_modules/answer/${name}`, file])),
    }
    const rebuilt = await answer({ files: pushed })
    expect(rebuilt.log).toMatch(/Rebuilding and completing the pushed node_modules/)
    expect(rebuilt.text).toMatch(/^pushed 42\n/)
  }, 300_000)

  it('Yarn takes packages from the mirror that was pushed with the app', async () => {
    const folder = await mkdtemp(join(staging.work, 'mirror-'))
    const mirror = join(folder, 'npm-packages-offline-cache')
    await mkdir(mirror)
    execFileSync('npm', ['pack', '--silent', '--pack-destination', mirror, 'ms@2.1.3'])
    const files = {
      'package.json':
        '{"name":"a","version":"1.0.0","main":"x.js","scripts":{"start":"node server.js"},"dependencies":{"ms":"2.1.3"}}',
      'server.js': listening('"ms " + require("ms")("1m")'),
      'yarn.lock': 'ms@2.1.3:\n  version "2.1.3"\n  resolved "http://127.0.0.1:9/ms/-/ms-2.1.3.tgz"\n',
    }
    for (const [name, body] of Object.entries(files)) {
      await mkdir(dirname(join(folder, name)), { recursive: true })
      await writeFile(join(folder, name), body)
    }
    expect((await answer({ files: folder })).text).toMatch(/^ms 60000\n/)
  }, 240_000)

  it('without a start script server.js is started; what programs are told by default, and what the app says comes first', async () => {
    const shown = ['NODE_ENV', 'WEB_MEMORY', 'WEB_CONCURRENCY', 'MEMORY_AVAILABLE', 'NODE_OPTIONS']
    const says = `process.version.split(".")[0] + " " + ${JSON.stringify(shown)}.map((name) => process.env[name]).join()`
    const files: Files = {
      'package.json': '{"name":"a","version":"1.0.0"}',
      '.nvmrc': 'lts/iron\n',
      'server.js': listening(says),
    }
    const { text, droplet } = await answer({ files })
    expect(text).toMatch(/^v20 production,512,1,1024,\n/)
    const look = `export NODE_ENV=staging WEB_CONCURRENCY=3 OPTIMIZE_MEMORY=true; . ../profile.d/*node.sh; node server.js & for i in $(seq 100); do curl -s localhost:$PORT && break; sleep 0.1; done; kill %1`
    expect(await staging.bench.inDroplet(droplet.sha256, look, 512)).toMatch(/^v20 staging,512,3,512,--max_old_space_size=384/m)
    expect((await staged({ files })).log).toContain('.nvmrc: lts/iron')
  }, 240_000)
})
