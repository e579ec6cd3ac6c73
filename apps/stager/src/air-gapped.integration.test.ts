import { execFileSync } from 'node:child_process'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { mkdir, writeFile } from 'node:fs/promises'
import { silentLogger } from '@bloomery/telemetry'
import { describeWithDocker } from '@bloomery/testing'
import { packageBuildpack } from './buildpacks/package-buildpack.js'
import { RuntimeSources } from './runtimes/runtime-sources.js'
import { RuntimeStore } from './runtimes/runtime-store.js'
import { withStaging } from './staging-under-test.fixture.js'

const SERVER_JS =
  'require("node:http").createServer((q, r) => r.end(process.version + " " + require("answer"))).listen(process.env.PORT)'
const NODE_APP = {
  'package.json':
    '{"name":"a","version":"1.0.0","engines":{"node":"20.x"},"scripts":{"start":"node server.js"},"dependencies":{"answer":"1.0.0"}}',
  'server.js': SERVER_JS,
  'node_modules/answer/package.json': '{"name":"answer","version":"1.0.0","main":"index.js"}',
  'node_modules/answer/index.js': 'module.exports = 42\n',
}
const GO_APP = {
  'go.mod': 'module example.com/a\n\ngo 1.24\n\nrequire example.com/answer v1.0.0\n',
  'vendor/modules.txt': '# example.com/answer v1.0.0\n## explicit\nexample.com/answer\n',
  'vendor/example.com/answer/answer.go': 'package answer\n\nconst Is = "42"\n',
  'main.go':
    'package main\n\nimport ("net/http"; "os"; "example.com/answer")\n\nfunc main() {\n' +
    '\thttp.ListenAndServe(":"+os.Getenv("PORT"), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("go " + answer.Is)) }))\n}\n',
}
const WSGI =
  'import os, answer\nfrom wsgiref.simple_server import make_server\n' +
  'def app(e, s):\n    s("200 OK", [])\n    return [b"python " + str(answer.IS).encode()]\n' +
  'make_server("", int(os.environ["PORT"]), app).serve_forever()\n'
/** A wheel of one module. */
const WHEEL = `
import sys, zipfile
with zipfile.ZipFile(sys.argv[1], 'w') as z:
    z.writestr('answer.py', 'IS = 42\\n')
    z.writestr('answer-1.0.dist-info/METADATA', 'Metadata-Version: 2.1\\nName: answer\\nVersion: 1.0\\n')
    z.writestr('answer-1.0.dist-info/WHEEL', 'Wheel-Version: 1.0\\nGenerator: t\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
    z.writestr('answer-1.0.dist-info/RECORD', 'answer.py,,\\nanswer-1.0.dist-info/METADATA,,\\nanswer-1.0.dist-info/WHEEL,,\\nanswer-1.0.dist-info/RECORD,,\\n')
`

// Packs and unpacks whole runtimes: with the longer suites only.
const suite = process.env['BLOOMERY_TEST_FULL'] === '1' ? await describeWithDocker() : describe.skip
suite('a site whose containers reach nothing', () => {
  const staging = withStaging(['nodejs_buildpack', 'go_buildpack', 'python_buildpack'], { airGapped: true })

  /** Uploads a system buildpack with runtimes in it, made where there is a network. */
  const carrying = async (name: string, runtimes: readonly string[]): Promise<string> => {
    const sources = new RuntimeSources({
      folder: join(tmpdir(), 'bloomery-test-versions'),
      architecture: process.arch,
      proxies: { http: undefined, https: undefined, no: undefined },
      go: {},
      home: homedir(),
    })
    const store = new RuntimeStore(join(tmpdir(), 'bloomery-test-runtimes'), sources, process.arch, silentLogger)
    const systemFolder = join(import.meta.dirname, '../../../buildpacks')
    const output = join(staging.work, `${name}.zip`)
    try {
      await packageBuildpack({ systemFolder, name, runtimes, store, output })
    } finally {
      await store.settled()
      await sources.close()
    }
    await staging.bench.addBuildpackFile(`${name}_cached_buildpack`, output)
    return `${name}_cached_buildpack`
  }

  it('a buildpack that carries its runtimes stages an app that brings its packages: Node', async () => {
    const { text, log } = await staging.answer(
      { files: NODE_APP, buildpacks: [await carrying('nodejs', ['node@20.x', 'npm@10.x'])] },
      'curl -s localhost:$PORT/; cat ../deps/0/bom.json; curl -s -m 5 https://example.com/ || echo gap $?',
    )
    expect(log).toMatch(/Installing node 20\./)
    expect(text).toMatch(/^v20\.[\d.]+ 42[\s\S]*"value": "carried"[\s\S]*gap \d/)
  }, 300_000)

  it('and Go, with vendored modules', async () => {
    const { text, log } = await staging.answer({ files: GO_APP, buildpacks: [await carrying('go', ['go@1.24.x'])] })
    expect(log).toMatch(/Installing go 1\.24\./)
    // The droplet has the program alone.
    expect(Number(/Uploaded droplet \(([\d.]+)M\)/.exec(log)?.[1])).toBeLessThan(20)
    expect(text).toMatch(/^go 42/)
  }, 600_000)

  it('Python needs no more than the wheels beside the app', async () => {
    const app = join(staging.work, 'python')
    await mkdir(join(app, 'vendor'), { recursive: true })
    await writeFile(join(app, 'requirements.txt'), 'answer==1.0\n')
    await writeFile(join(app, 'Procfile'), 'web: python app.py\n')
    await writeFile(join(app, 'app.py'), WSGI)
    execFileSync('python3', ['-c', WHEEL, join(app, 'vendor/answer-1.0-py3-none-any.whl')])
    expect((await staging.answer({ files: app })).text).toMatch(/^python 42/)
  }, 180_000)

  it('an app that needs a package from elsewhere is told that the way there is closed, and what to do', async () => {
    const { row } = await staging.stage({
      files: {
        'package.json': '{"name":"a","version":"1.0.0","scripts":{"start":"node x"},"dependencies":{"ms":"2.1.3"}}',
        '.npmrc': 'fetch-retries=0\n',
      },
      buildpacks: ['nodejs_cached_buildpack'],
    })
    expect(row.failure).toMatchObject({ class: 'BuildpackCompileFailed', cause: 'network-refused' })
    expect(row.failure?.nextStep).toMatch(/push the packages with the app/)
  }, 300_000)
})
