import { execFileSync } from 'node:child_process'
import { cp, mkdtemp, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describeWithDocker } from '@bloomery/testing'
import { withStaging } from './staging-under-test.fixture.js'
import { examplePath, type Files, IMAGE } from './testing.fixture.js'

const MS = 'sha512-6FlzubTLZG3J2a/NVCAleEhjzq5oxgHyaCU9yYXvcLsvoVaHJq/s5xXI6/XXP6tz7R9xAOtHnSO/tXtF3WRTlA=='
const SERVER_JS = 'require("node:http").createServer((q, r) => r.end("ms " + require("ms")("1m"))).listen(process.env.PORT)'
const ITSDANGEROUS = 'sha256:c6242fc49e35958c8b15141343aa660db5fc54d4f13a1db01a3f5891b98700ef'
const WSGI =
  'import os, itsdangerous\nfrom wsgiref.simple_server import make_server\n' +
  'def app(e, s):\n    s("200 OK", [])\n    return [b"Hello from " + itsdangerous.__name__.encode()]\n' +
  'make_server("", int(os.environ["PORT"]), app).serve_forever()\n'
const GO_SERVER =
  'package main\n\nimport ("net/http"; "os")\n\nvar version = "none"\n\nfunc main() {\n' +
  '\thttp.ListenAndServe(":"+os.Getenv("PORT"), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("go " + version + "\\n")) }))\n}\n'
// Long, and each needs its language's sources: with the longer suites only.
const WHOLE = process.env['BLOOMERY_TEST_FULL'] === '1'
const suite = WHOLE ? await describeWithDocker() : describe.skip
suite('the ways of each language', () => {
  const staging = withStaging()
  const { stage, answer } = staging

  it.each<[string, Files, Record<string, string>, RegExp]>([
    [
      'pnpm by its lock',
      {
        'package.json': '{"name":"a","version":"1.0.0","scripts":{"start":"node server.js"},"dependencies":{"ms":"2.1.3"}}',
        'pnpm-lock.yaml': `lockfileVersion: '9.0'\n\nimporters:\n\n  .:\n    dependencies:\n      ms:\n        specifier: 2.1.3\n        version: 2.1.3\n\npackages:\n\n  ms@2.1.3:\n    resolution: {integrity: ${MS}}\n\nsnapshots:\n\n  ms@2.1.3: {}\n`,
        'server.js': SERVER_JS,
      },
      {},
      /^ms 60000/,
    ],
    [
      'Yarn 4 without node_modules',
      {
        'package.json':
          '{"name":"a","version":"1.0.0","packageManager":"yarn@4.9.1","scripts":{"start":"node server.js"},"dependencies":{"ms":"2.1.3"}}',
        '.yarnrc.yml': 'nodeLinker: pnp\nenableImmutableInstalls: false\n',
        'server.js': SERVER_JS,
      },
      {},
      /^ms 60000/,
    ],
    [
      'workspaces of npm, a build script, and one of them started',
      {
        'package.json':
          '{"name":"all","private":true,"workspaces":["apps/*"],"scripts":{"build":"node -e \\"require(\'fs\').writeFileSync(\'apps/web/built\',\'1\')\\""}}',
        'apps/web/package.json':
          '{"name":"web","version":"1.0.0","scripts":{"start":"node server.js"},"dependencies":{"ms":"2.1.3"}}',
        'apps/web/server.js': `require("node:fs").readFileSync("built");${SERVER_JS}`,
      },
      { BP_NODE_RUN_SCRIPTS: 'build', BP_NODE_PROJECT_PATH: 'apps/web' },
      /^ms 60000/,
    ],
  ])(
    'nodejs: %s',
    async (_name, files, environment, expected) => {
      expect((await answer({ files, environment })).text).toMatch(expected)
    },
    240_000,
  )

  it.each<[string, Files]>([
    [
      'uv.lock',
      {
        'pyproject.toml': '[project]\nname = "a"\nversion = "1"\nrequires-python = ">=3.10"\ndependencies = ["itsdangerous"]\n',
        'uv.lock': `version = 1\n\n[[package]]\nname = "a"\nversion = "1"\nsource = { virtual = "." }\ndependencies = [{ name = "itsdangerous" }]\n\n[[package]]\nname = "itsdangerous"\nversion = "2.2.0"\nsource = { registry = "x" }\nwheels = [{ url = "x", hash = "${ITSDANGEROUS}" }]\n`,
      },
    ],
    [
      'poetry.lock',
      {
        'pyproject.toml':
          '[tool.poetry]\nname = "a"\nversion = "1"\npackage-mode = false\n[tool.poetry.dependencies]\npython = "^3.10"\nitsdangerous = "*"\n',
        'poetry.lock': `[[package]]\nname = "itsdangerous"\nversion = "2.2.0"\ngroups = ["main"]\nfiles = [{file = "x", hash = "${ITSDANGEROUS}"}]\n`,
      },
    ],
    [
      'Pipfile.lock',
      {
        Pipfile: '',
        'Pipfile.lock': JSON.stringify({ default: { itsdangerous: { version: '==2.2.0', hashes: [ITSDANGEROUS] } } }),
      },
    ],
    [
      'pyproject.toml alone',
      {
        'pyproject.toml':
          '[project]\nname = "app"\nversion = "1"\ndependencies = ["itsdangerous==2.2.0"]\n[tool.setuptools]\npy-modules = []\n',
      },
    ],
  ])(
    'python: %s',
    async (_name, files) => {
      const { text, log } = await answer({ files: { ...files, 'app.py': WSGI, Procfile: 'web: python app.py\n' } })
      expect(log).toContain('Installing')
      expect(text).toMatch(/^Hello from itsdangerous/)
    },
    180_000,
  )

  it('python: a file with another checksum than the lock names is refused', async () => {
    const { row, log } = await stage({
      files: { 'requirements.txt': `itsdangerous==2.2.0 --hash=sha256:${'0'.repeat(64)}\n`, Procfile: 'web: true\n' },
    })
    expect(row.failure?.class).toBe('BuildpackCompileFailed')
    expect(log).toMatch(/DO NOT MATCH THE HASHES[\s\S]*The index gave another file than the lock names/)
  }, 120_000)

  it('go: several programs, values at link time, a version by variable', async () => {
    const { text, log } = await answer(
      {
        files: {
          'go.mod': 'module example.com/a\n\ngo 1.25\n',
          'cmd/web/main.go': GO_SERVER,
          'cmd/other/main.go': 'package main\n\nfunc main() {}\n',
        },
        environment: {
          GO_INSTALL_PACKAGE_SPEC: './cmd/web ./cmd/other',
          GO_LINKER_SYMBOL: 'main.version',
          GO_LINKER_VALUE: 'seven',
        },
      },
      'curl -s localhost:$PORT/; ls bin',
    )
    expect(log).toContain('./cmd/web ./cmd/other')
    expect(text).toMatch(/^go seven\nother\nweb/)
  }, 240_000)

  it('go: without go.mod, by its import path, with vendored packages; with Go and its source in the droplet', async () => {
    const { text } = await answer(
      {
        files: {
          'main.go': GO_SERVER.replace('import ("net/http"; "os")', 'import ("net/http"; "os"; "example.com/word")').replace(
            '"none"',
            'word.Word',
          ),
          'vendor/example.com/word/word.go': 'package word\n\nvar Word = "vendored"\n',
        },
        environment: {
          GOPACKAGENAME: 'example.com/app',
          GOVERSION: 'go1.25',
          GO_INSTALL_TOOLS_IN_IMAGE: 'true',
          GO_SETUP_GOPATH_IN_IMAGE: 'true',
        },
      },
      'curl -s localhost:$PORT/; go version; cat $GOPATH/src/example.com/app/vendor/example.com/word/word.go',
    )
    // Go itself and the source are there only where the app asked for them.
    expect(text).toMatch(/^go vendored\ngo version go1\.25\.\d+ [\s\S]*package word/)
  }, 240_000)

  it.each<[string, Files, Record<string, string>, RegExp]>([
    [
      'no such version',
      { 'go.mod': 'module a\n' },
      { GOVERSION: 'go1.9' },
      /no version of go matches '1\.9\.x'\. Available: 1\.\d+\.\d+, /,
    ],
    [
      'a module that go.sum lacks',
      {
        'go.mod': 'module a\n\ngo 1.25\n\nrequire github.com/google/uuid v1.6.0\n',
        'main.go': 'package main\n\nimport _ "github.com/google/uuid"\n\nfunc main() {}\n',
      },
      {},
      /missing go\.sum entry[\s\S]*Run go mod tidy and push go\.mod and go\.sum/,
    ],
    [
      'no main package',
      { 'go.mod': 'module a\n\ngo 1.25\n', 'a.go': 'package a\n' },
      {},
      /no program was built|Name the main package/,
    ],
  ])(
    'go says clearly: %s',
    async (_name, files, environment, message) => {
      const { row, log } = await stage({ files, environment })
      expect(row.failure?.class).toBe('BuildpackCompileFailed')
      expect(log).toMatch(message)
    },
    180_000,
  )

  const NOWHERE = 'http://127.0.0.1:9'
  it.each<[string, Files]>([
    [
      'npm, by the app’s own registry',
      {
        'package.json': '{"name":"a","version":"1.0.0","scripts":{"start":"node x"},"dependencies":{"ms":"2.1.3"}}',
        '.npmrc': `registry=${NOWHERE}/\nfetch-retries=0\n`,
      },
    ],
    ['pip', { 'requirements.txt': `--index-url ${NOWHERE}/simple\nitsdangerous==2.2.0\n`, Procfile: 'web: true\n' }],
    [
      'Bundler',
      {
        Gemfile: `source '${NOWHERE}'\ngem 'sinatra'\n`,
        'Gemfile.lock': `GEM\n  remote: ${NOWHERE}/\n  specs:\n    sinatra (3.0.5)\n\nPLATFORMS\n  ruby\n\nDEPENDENCIES\n  sinatra\n`,
      },
    ],
    [
      'Composer',
      {
        'composer.json': JSON.stringify({
          require: { 'nikic/fast-route': '1.3.0' },
          repositories: [{ type: 'composer', url: NOWHERE }, { 'packagist.org': false }],
          config: { 'secure-http': false },
        }),
        'htdocs/index.php': '',
      },
    ],
    [
      'Maven',
      {
        'pom.xml': `<project><modelVersion>4.0.0</modelVersion><groupId>a</groupId><artifactId>a</artifactId><version>1</version></project>`,
        'settings.xml': `<settings><mirrors><mirror><id>m</id><mirrorOf>*</mirrorOf><url>${NOWHERE}</url></mirror></mirrors></settings>`,
      },
    ],
  ])(
    'an index that cannot be reached is told from a package that is not there: %s',
    async (_name, files) => {
      const { row, log } = await stage({ files })
      expect({ ...row.failure, log }).toMatchObject({
        class: 'BuildpackCompileFailed',
        cause: 'network-refused',
        nextStep: expect.stringMatching(/could not reach/),
      })
    },
    180_000,
  )

  it('php: nginx, extensions, commands before the start; and an app without a web server', async () => {
    const web = await answer({
      files: {
        '.bp-config/options.json': JSON.stringify({
          WEB_SERVER: 'nginx',
          PHP_EXTENSIONS: ['gd'],
          ADDITIONAL_PREPROCESS_CMDS: ['touch $HOME/before'],
        }),
        'index.php': '<?php echo extension_loaded("gd") ? "gd" : "-", file_exists(__DIR__ . "/../before") ? " before" : "";',
      },
    })
    expect(web.text).toMatch(/^gd before/)
    const alone = await answer({
      files: {
        '.bp-config/options.json': '{"WEB_SERVER":"none"}',
        'app.php':
          '<?php $s = stream_socket_server("tcp://0.0.0.0:" . getenv("PORT")); while ($c = stream_socket_accept($s, -1)) { fread($c, 1024); fwrite($c, "HTTP/1.0 200 OK\\r\\n\\r\\nalone"); fclose($c); }',
      },
    })
    expect(alone.text).toMatch(/^alone/)
  }, 180_000)

  it('dotnet: what was published self-contained runs; source says what is missing where the vendor is out of reach', async () => {
    const pushed = await mkdtemp(join(staging.work, 'dotnet-'))
    const source = join(import.meta.dirname, '../../../examples/binary-app/server.c')
    execFileSync('cc', ['-O2', '-static', '-o', join(pushed, 'hello'), source])
    await writeFile(join(pushed, 'hello.runtimeconfig.json'), '{"runtimeOptions":{"includedFrameworks":[]}}')
    const { text, log } = await answer({ files: pushed })
    expect(log).toContain('published self-contained: no runtime is needed')
    expect(text).toMatch(/Hello from a compiled program/)
    const none = await stage({ files: { 'a.csproj': '<TargetFramework>net1.0</TargetFramework>' } })
    expect(none.log).toMatch(/no version of dotnet-sdk matches '1\.0\.x'[\s\S]*dotnet publish -r linux-x64 --self-contained/)
  }, 120_000)

  it('dotnet: a published app gets the runtime of its line, from the package index where the vendor is out of reach, and runs on it', async () => {
    const pushed = await mkdtemp(join(staging.work, 'dotnet-app-'))
    await cp(examplePath('dotnet-app'), pushed, { recursive: true })
    // The vendor's compiler may be out of reach; what this one makes is the same for the runtime.
    const compile =
      'apt-get -qq update && apt-get -qq -y --no-install-recommends install mono-mcs >/dev/null 2>&1 && mcs -nologo -out:app.dll Program.cs && rm Program.cs *.csproj'
    execFileSync('docker', ['run', '--rm', '-v', `${pushed}:/w`, '-w', '/w', IMAGE, 'sh', '-c', compile])
    const framework = { name: 'Microsoft.NETCore.App', version: '3.1.0' }
    await writeFile(join(pushed, 'app.runtimeconfig.json'), JSON.stringify({ runtimeOptions: { framework } }))
    const look = 'curl -s localhost:$PORT/; dotnet --list-runtimes; echo "icu $CLR_ICU_VERSION_OVERRIDE"; cat ../deps/0/bom.json'
    const { text, log } = await answer({ files: pushed }, look)
    expect(log).toMatch(/app\.runtimeconfig\.json: 3\.1\.x[\s\S]*Installing dotnet-runtime 3\.1\.\d+/)
    expect(log).toMatch(/\.NET 3\.1 has no TLS here/)
    expect(text).toMatch(
      /^Hello from dotnet-app, instance 0, \.NET 3\.1\.\d+\nMicrosoft\.NETCore\.App 3\.1\.\d+ [\s\S]*^icu \d\d[\s\S]*pkg:pypi\/dotnetcore2@3\.1/m,
    )
  }, 300_000)
})
