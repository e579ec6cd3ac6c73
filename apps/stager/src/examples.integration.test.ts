import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { cp, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { eventually, withPostgres } from '@bloomery/testing'
import { type Bench, examplePath, makeBench, serving, workingEngines } from './testing.fixture.js'

const SYSTEM = ['staticfile_buildpack', 'nodejs_buildpack', 'python_buildpack', 'binary_buildpack']

// On docker the end-to-end stories push every example; here only where there is time for both.
const WHOLE = process.env['BLOOMERY_TEST_FULL'] === '1'
for (const [kind, works] of await workingEngines())
  (works && (WHOLE || kind === 'process') ? describe : describe.skip)(`the examples on the ${kind} engine`, () => {
    const database = withPostgres()
    let bench: Bench
    let stager: ReturnType<Bench['makeStager']>
    beforeAll(async () => {
      bench = await makeBench(database.pool, { systemBuildpacks: SYSTEM, engine: kind })
      stager = bench.makeStager()
      await eventually(() => stager.isReady)
    }, 60_000)
    afterAll(() => bench.close(), 60_000)

    const staged = async (options: Parameters<Bench['addBuild']>[0]) => {
      bench.logs.lines.length = 0
      const { build, app } = await bench.addBuild(options)
      await stager.offer(build)
      const row = await bench.build(build)
      if (row?.state !== 'STAGED') throw new Error(`${row?.error}\n${bench.logs.text}`)
      const droplet = await bench.droplet(row.droplet_guid)
      return { app, droplet, log: bench.logs.text, command: droplet.process_types['web'] ?? '' }
    }

    it('express-app: installed, started, and staged a second time without installing', async () => {
      const first = await staged({ files: examplePath('express-app') })
      expect(first.droplet.process_types).toEqual({ web: 'npm start' })
      expect(first.droplet.buildpacks).toEqual([
        { name: 'nodejs_buildpack', detect_output: 'nodejs', version: '1.0.0', buildpack_name: 'nodejs' },
      ])
      expect(first.log).toMatch(/Installing node 22\.\d+\.\d+/)
      expect(first.log).toContain('Uploading droplet, build artifacts cache...')
      const look = serving('npm start', 'curl -s localhost:$PORT/health; echo; npm --version; node --version')
      const answer = await bench.inDroplet(first.droplet.sha256, look)
      expect(answer).toMatch(/"status":"ok"/)
      expect(answer).toMatch(/^10\.\d+\.\d+$/m)
      expect(answer).toMatch(/^v22\./m)
      const second = await staged({ files: examplePath('express-app'), app: first.app })
      expect(second.log).toContain('node_modules restored from the last droplet')
      expect(await bench.inDroplet(second.droplet.sha256, look)).toMatch(/"status":"ok"/)
    }, 240_000)

    it('flask-app: installed, started, and staged a second time without installing', async () => {
      const first = await staged({ files: examplePath('flask-app') })
      expect(first.command).toMatch(/^gunicorn/)
      const look = serving(first.command, 'curl -s localhost:$PORT/')
      expect(await bench.inDroplet(first.droplet.sha256, look)).toMatch(/^Hello from flask-app, instance 0, Python 3\.\d+/)
      const second = await staged({ files: examplePath('flask-app'), app: first.app })
      expect(second.log).toContain('packages restored from the last droplet')
      expect(await bench.inDroplet(second.droplet.sha256, look)).toMatch(/^Hello from/)
    }, 240_000)

    it('hello-node, and both apps of two-apps', async () => {
      for (const [files, environment, expected] of [
        ['hello-node', {}, /^Hello from hello-node, instance 0, Node v22/],
        ['two-apps/front', { GREETING: 'Good day' }, /Good day/],
        ['two-apps/back', { GREETING: 'Good day from the back' }, /Good day from the back/],
      ] as const) {
        const { droplet, command } = await staged({
          files: examplePath(files),
          buildpacks: ['nodejs_buildpack'],
          environment,
        })
        const settings = Object.entries(environment).map(([name, value]) => `export ${name}='${value}';`)
        const answer = await bench.inDroplet(droplet.sha256, settings.join('') + serving(command, 'curl -s localhost:$PORT/'))
        expect(answer).toMatch(expected)
      }
    }, 120_000)

    const hasNginx = kind === 'docker' || existsSync('/usr/sbin/nginx')
    ;(hasNginx ? it : it.skip)(
      'static-site',
      async () => {
        const { droplet, command } = await staged({ files: examplePath('static-site') })
        const look =
          'curl -si localhost:$PORT/; curl -s -o /dev/null -w "%{http_code}\\n" localhost:$PORT/Staticfile; curl -s localhost:$PORT/none'
        const answer = await bench.inDroplet(droplet.sha256, serving(command, look))
        expect(answer).toContain('A static site')
        expect(answer).not.toMatch(/nginx\//)
        expect(answer).toContain('404')
        expect(answer).toContain('Not here')
      },
      120_000,
    )

    it('binary-app: by name only, with its mode kept', async () => {
      const folder = await mkdtemp(join(tmpdir(), 'binary-'))
      try {
        await cp(examplePath('binary-app'), folder, { recursive: true })
        execFileSync('cc', ['-O2', '-static', '-o', join(folder, 'server'), join(folder, 'server.c')])
        const { build } = await bench.addBuild({ files: folder })
        await stager.offer(build)
        expect((await bench.build(build))?.error).toBe(
          'NoAppDetectedError - An app was not successfully detected by any available buildpack',
        )
        const { droplet } = await staged({ files: folder, buildpacks: ['binary_buildpack'] })
        expect(droplet.process_types).toEqual({ web: './server' })
        const answer = await bench.inDroplet(droplet.sha256, serving('./server', 'curl -s localhost:$PORT/'))
        expect(answer).toContain('Hello from a compiled program')
      } finally {
        await rm(folder, { recursive: true, force: true })
      }
    }, 120_000)
  })
