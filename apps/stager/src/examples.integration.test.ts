import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { cp, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { eventually, withPostgres } from '@bloomery/testing'
import { type Bench, examplePath, makeBench, serving, workingEngines } from './testing.fixture.js'

const SYSTEM = ['staticfile', 'java', 'ruby', 'dotnet_core', 'nodejs', 'go', 'python', 'php', 'nginx', 'binary'].map(
  (name) => `${name}_buildpack`,
)
/** So that an identical push is staged once more, not answered with the droplet that is there. */
const ANEW = { BLOOMERY_TEST_PUSH: '2' }
/** Programs that an example needs of the machine where there is no stack. */
const NEEDS: Readonly<Record<string, readonly string[]>> = {
  'ruby-app': ['/usr/bin/ruby', '/usr/bin/bundle'],
  'php-app': ['/usr/bin/php', '/usr/bin/composer', '/usr/sbin/php-fpm8.2', '/usr/sbin/apache2'],
  'nginx-app': ['/usr/sbin/nginx'],
  'java-app': ['/usr/bin/java', '/usr/bin/javac', '/usr/bin/mvn'],
  'go-app': [],
}

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
      const second = await staged({ files: examplePath('express-app'), app: first.app, environment: ANEW })
      expect(second.log).toContain('node_modules restored from the last droplet')
      expect(await bench.inDroplet(second.droplet.sha256, look)).toMatch(/"status":"ok"/)
    }, 240_000)

    it('flask-app: installed, started, and staged a second time without installing', async () => {
      const first = await staged({ files: examplePath('flask-app') })
      expect(first.command).toMatch(/^gunicorn/)
      const look = serving(first.command, 'curl -s localhost:$PORT/')
      expect(await bench.inDroplet(first.droplet.sha256, look)).toMatch(/^Hello from flask-app, instance 0, Python 3\.\d+/)
      const second = await staged({ files: examplePath('flask-app'), app: first.app, environment: ANEW })
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

    const answering = (name: string) =>
      kind === 'docker' || (NEEDS[name] ?? []).every((program) => existsSync(program)) ? it : it.skip

    answering('go-app')(
      'go-app: modules by go.sum, a program on the path, and its modules listed',
      async () => {
        const { droplet, command, log } = await staged({ files: examplePath('go-app') })
        expect(log).toMatch(/the go line of go\.mod: [\s\S]*Installing go 1\.25\.\d+/)
        expect(command).toBe('go-app')
        const answer = await bench.inDroplet(
          droplet.sha256,
          serving(command, 'curl -s localhost:$PORT/hello/you; cat ../deps/0/bom.json; ls ../deps/0'),
        )
        expect(answer).toContain('Hello you')
        expect(answer).toContain('pkg:golang/github.com/go-chi/chi/v5@v5.2.3')
        expect(answer).not.toMatch(/^go$/m)
      },
      240_000,
    )

    answering('java-app')(
      'java-app: Maven source, memory by its limit, and no start where the limit is too small',
      async () => {
        const { droplet, command, log } = await staged({ files: examplePath('java-app') })
        expect(log).toMatch(/Running mvn -DskipTests package[\s\S]*Spring Boot 3\./)
        expect(droplet.process_types).toEqual({ web: command, task: command })
        const answer = await bench.inDroplet(droplet.sha256, serving(command, 'curl -s localhost:$PORT/; cat ../deps/0/bom.json'))
        expect(answer).toMatch(/JVM Memory Configuration: .*-Xmx\d+[KM].*Total Memory: 1024M/)
        expect(answer).toMatch(/Hello from java-app, instance 0, Java 17\..*, profiles cloud/)
        expect(answer).toContain('pkg:maven/org.springframework/spring-web@')
        const small = await bench.inDroplet(droplet.sha256, command, 512)
        expect(small).toMatch(
          /allocated memory \d+[KM] is greater than 512M available for allocation: -XX:MaxDirectMemorySize=10M[\s\S]*at least \d+M/,
        )
        const large = await bench.inDroplet(droplet.sha256, 'echo "$JAVA_OPTS"', 2048)
        expect(Number(/-Xmx(\d+)K/.exec(large)?.[1])).toBeGreaterThan(1_300_000)
      },
      300_000,
    )

    answering('ruby-app')(
      'ruby-app: gems of vendor/cache, and a second time those of the last droplet',
      async () => {
        const first = await staged({ files: examplePath('ruby-app') })
        const look = serving(first.command, 'curl -s localhost:$PORT/')
        expect(await bench.inDroplet(first.droplet.sha256, look)).toMatch(/Hello from ruby-app, instance 0, Ruby 3\.\d/)
        const bare = await bench.inDroplet(
          first.droplet.sha256,
          `ruby -e 'require "sinatra/base"; puts "found without bundle exec"'`,
        )
        expect(bare).toContain('found without bundle exec')
        const second = await staged({ files: examplePath('ruby-app'), app: first.app, environment: ANEW })
        expect(second.log).toContain('gems restored from the last droplet')
        expect(await bench.inDroplet(second.droplet.sha256, look)).toMatch(/Hello from ruby-app/)
      },
      120_000,
    )

    answering('php-app')(
      'php-app: Composer, php-fpm behind httpd; when php-fpm ends, so does the app',
      async () => {
        const { droplet, command } = await staged({ files: examplePath('php-app') })
        const look =
          'curl -s localhost:$PORT/; curl -s localhost:$PORT/hello/you; curl -s -o /dev/null -w "%{http_code}" localhost:$PORT/no'
        const ended = 'kill $(ps -eo pid,args | awk "/php-fpm: master/ && !/awk/ {print \\$1}"); wait %1; echo " ended"'
        const answer = await bench.inDroplet(droplet.sha256, serving(command, `${look}; ${ended}`))
        expect(answer).toMatch(/Hello from php-app, instance 0, PHP 8\.\d+\.\d+, GRÖSSE\nHello you\n404 ended/)
      },
      120_000,
    )

    answering('nginx-app')(
      'nginx-app: its own nginx.conf, filled in at the start',
      async () => {
        const { droplet, command } = await staged({ files: examplePath('nginx-app') })
        const answer = await bench.inDroplet(
          droplet.sha256,
          `export GREETING="good day";${serving(command, 'curl -s localhost:$PORT/; curl -s localhost:$PORT/instance')}`,
        )
        expect(answer).toContain("Served by the app's own nginx.conf.")
        expect(answer).toContain('Hello from nginx-app, good day')
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
