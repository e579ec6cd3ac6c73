import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { availableDrivers, openDriver, type Driver } from './drivers.js'
import { example, folder, talkingApp, TINY, versionedApp } from './fixtures.js'
import { eventually, startPlatform, type Platform } from './platform.js'
import { TcpLine } from './tcp-line.js'

/** What a developer builds before the push. */
const BUILDS: Readonly<Record<string, (path: string) => void>> = {
  'binary-app': (path) => execFileSync('cc', ['-O2', '-static', '-o', 'server', 'server.c'], { cwd: path }),
  'dotnet-app': (path) => {
    // As `dotnet publish` leaves it, by a compiler that Debian has.
    const script =
      'apt-get -qq update && apt-get -qq -y --no-install-recommends install mono-mcs >/dev/null 2>&1 && mcs -nologo -out:app.dll Program.cs && rm Program.cs *.csproj'
    execFileSync('docker', ['run', '--rm', '-v', `${path}:/w`, '-w', '/w', 'bloomery/stack:bookworm', 'sh', '-c', script])
    const framework = { name: 'Microsoft.NETCore.App', version: '3.1.0' }
    writeFileSync(join(path, 'app.runtimeconfig.json'), JSON.stringify({ runtimeOptions: { framework } }))
  },
}
const LONGER: [string, RegExp][] = [
  ['dotnet-app', /^Hello from dotnet-app, instance 0, \.NET 3\.1/],
  ['hello-node', /^Hello from hello-node, instance 0, Node v22/],
]

describe('pushing real source', () => {
  let platform: Platform
  beforeAll(async () => {
    platform = await startPlatform({ engine: 'docker' })
  })
  afterAll(async () => platform?.stop())

  const answers = (name: string, path = '/') =>
    eventually(
      `${name} answers`,
      30,
      () => platform.request(`${name}.apps.localhost`, path),
      ({ status }) => status === 200,
    )

  describe.each(availableDrivers())('with %s', (driverName) => {
    let driver: Driver
    beforeAll(async () => {
      driver = await openDriver(driverName, platform)
    })
    afterAll(() => driver?.close())
    const named = (name: string) => `${name}-${driverName}`

    it('runs an Express app with a lock file; pushed again as it is, its droplet is used again, and the log says so', async () => {
      const path = example('express-app')
      await driver.ok(['push', named('express'), '-p', path])
      expect((await answers(named('express'))).body).not.toBe('')
      const again = await driver.ok(['push', named('express'), '-p', path])
      expect(again.all).toMatch(/running|started/i)
      await answers(named('express'))
      await eventually(
        'the log says that nothing was staged',
        20,
        () => driver.ok(['logs', named('express'), '--recent']),
        ({ stdout }) => /Same files, same buildpacks, same settings .*: it is used again, nothing to stage/.test(stdout),
      )
      const [guid = ''] = /[-0-9a-f]{36}/.exec((await driver.ok(['app', named('express'), '--guid'])).stdout) ?? []
      const droplets = JSON.parse((await driver.ok(['curl', `/v3/apps/${guid}/droplets`])).stdout) as { resources: unknown[] }
      expect(droplets.resources).toHaveLength(1)
      const app = await driver.ok(['app', named('express')])
      expect(app.stdout).toMatch(/nodejs_buildpack|nodejs/)
      expect(app.stdout).toMatch(/#0\s+running/)
      await driver.ok(['delete', named('express'), '-f', '-r'])
    })

    it('runs a Flask app from requirements.txt and a Procfile', async () => {
      await driver.ok(['push', named('flask'), '-p', example('flask-app')])
      await answers(named('flask'))
      await driver.ok(['delete', named('flask'), '-f', '-r'])
    })

    it('serves a static site', async () => {
      await driver.ok(['push', named('site'), '-p', example('static-site')])
      expect((await answers(named('site'))).headers['content-type']).toMatch(/html/)
      await driver.ok(['delete', named('site'), '-f', '-r'])
    })

    it('scales, follows logs, brings a crashed instance back and tells of it', async () => {
      const name = named('story')
      await driver.ok(['push', name, '-p', folder(versionedApp('v1')), '-m', '64M'])
      expect((await answers(name)).body).toBe('v1 0')
      await driver.ok(['scale', name, '-i', '4'])
      const seen = new Set<string>()
      await eventually(
        'each of four instances answers',
        30,
        async () => seen.add((await platform.request(`${name}.apps.localhost`)).body),
        (set) => ['v1 0', 'v1 1', 'v1 2', 'v1 3'].every((each) => set.has(each)),
      )
      expect((await driver.ok(['app', name])).stdout).toMatch(/4\/4/)

      const logs = await eventually(
        'the log tells of requests, the router and the cell',
        20,
        () => driver.ok(['logs', name, '--recent']),
        ({ stdout }) =>
          /\[APP\/PROC\/WEB\/\d\] OUT request \//.test(stdout) && stdout.includes('[RTR/0]') && stdout.includes('[CELL/'),
      )
      expect(logs.stdout).toMatch(/\[STG\/0\]/)

      await platform.request(`${name}.apps.localhost`, '/exit')
      const events = await eventually(
        'the crash is in the events',
        30,
        () => driver.ok(['events', name]),
        ({ stdout }) => /crash/.test(stdout),
      )
      expect(events.stdout).toMatch(/exit/i)
      await eventually(
        'four run again',
        60,
        () => driver.ok(['app', name]),
        ({ stdout }) => /4\/4/.test(stdout),
      )

      await driver.ok(['set-env', name, 'GREETING', 'hello, world'])
      expect((await driver.ok(['env', name])).stdout).toContain('GREETING')
      expect(JSON.parse((await platform.request(`${name}.apps.localhost`, '/env')).body)).not.toHaveProperty('GREETING')
      await driver.ok(['restart', name])
      const environment = JSON.parse((await answers(name, '/env')).body) as Record<string, string>
      expect(environment).toMatchObject({
        GREETING: 'hello, world',
        MEMORY_LIMIT: '64m',
        USER: 'vcap',
        HOME: '/home/vcap/app',
        VCAP_SERVICES: '{}',
        LANG: 'en_US.UTF-8',
      })
      expect(JSON.parse(environment['VCAP_APPLICATION'] ?? '{}')).toMatchObject({
        application_name: name,
        space_name: 'dev',
        organization_name: 'bloomery',
        process_type: 'web',
        limits: { mem: 64 },
      })

      await driver.ok(['stop', name])
      await eventually(
        'a stopped app is no route',
        15,
        () => platform.request(`${name}.apps.localhost`),
        ({ status, headers }) => status === 404 && headers['x-cf-routererror'] === 'unknown_route',
      )
      await driver.ok(['start', name])
      await answers(name)
      await driver.ok(['delete', name, '-f', '-r'])
      expect((await platform.request(`${name}.apps.localhost`)).status).toBe(404)
    })

    it('maps further routes and lets them go again', async () => {
      const name = named('routed')
      await driver.ok(['push', name, '-p', folder(versionedApp('v1')), '-m', '64M', '-i', '1'])
      await driver.ok(['map-route', name, 'apps.localhost', '--hostname', `${name}-also`])
      await answers(`${name}-also`)
      await driver.ok(['unmap-route', name, 'apps.localhost', '--hostname', `${name}-also`])
      await eventually(
        'an unmapped route is unknown',
        10,
        () => platform.request(`${name}-also.apps.localhost`),
        ({ status }) => status === 404,
      )
      expect((await driver.ok(['routes'])).stdout).toContain(name)
      await driver.ok(['delete', name, '-f', '-r'])
    })
  })

  describe('each language, by its example', () => {
    let driver: Driver
    beforeAll(async () => {
      driver = await openDriver(availableDrivers()[0] ?? 'bloom', platform)
    })
    afterAll(() => driver?.close())

    it.each<[string, RegExp]>([
      ['go-app', /^Hello from go-app, instance 0, go1\./],
      ['java-app', /^Hello from java-app, instance 0, Java 17/],
      ['ruby-app', /^Hello from ruby-app, instance 0, Ruby 3/],
      ['php-app', /^Hello from php-app, instance 0, PHP 8/],
      ['nginx-app', /Served by the app's own nginx\.conf/],
      ['binary-app', /^Hello from a compiled program/],
      ...(process.env['BLOOMERY_TEST_FULL'] ? LONGER : []),
    ])('%s', async (name, expected) => {
      const path = example(name)
      BUILDS[name]?.(path)
      await driver.ok(['push', name, '-p', path, '-f', join(path, 'manifest.yml')])
      expect((await answers(name)).body).toMatch(expected)
      await driver.ok(['delete', name, '-f', '-r'])
    })
  })

  it('leads a port to apps, live, and by server name to one of several', async () => {
    const driver = await openDriver('bloom', platform)
    try {
      expect((await driver.ok(['router-groups'])).stdout).toMatch(/default-tcp\s+tcp/)
      await driver.ok(['create-shared-domain', 'tcp.story.net', '--router-group', 'default-tcp'])
      const created = await driver.ok(['create-route', 'tcp.story.net'])
      const port = /tcp\.story\.net:(\d+)/.exec(created.all)?.[1] ?? ''
      const route = ['tcp.story.net', '--port', port]
      const push = (name: string) =>
        driver.ok(['push', name, '-p', folder(talkingApp(name)), ...TINY, '--no-route', '-u', 'port'])
      const says = (line: TcpLine, text: string) =>
        eventually(`${text} is heard`, 30, () => Promise.resolve(line.heard), (heard) => heard.includes(text)) // prettier-ignore
      // Each worker of the router hears of a change by itself, so whatever follows one is waited for.
      const hears = (expected: string, { line = 'who?', ...options }: { line?: string; servername?: string } = {}) =>
        eventually(`the answer is '${expected}'`, 30, () => TcpLine.ask(Number(port), line, options), (answer) => answer === expected) // prettier-ignore
      await push('one')
      await driver.ok(['map-route', 'one', ...route])
      await hears('one: who?')

      // Routes change under a connection that stays.
      const open = new TcpLine(Number(port))
      open.say('hello')
      await says(open, 'one: hello')
      await push('two')
      await driver.ok(['map-route', 'two', ...route])
      await driver.ok(['unmap-route', 'one', ...route])
      await hears('two: who?')
      // Instances reach the port, too, by a name of the platform.
      await hears('two: heard two: hello', { line: `dial api.bloomery.localhost ${port}` })

      await driver.ok(['create-route', ...route, '--hostname', 'db', '-o', 'sni=true'])
      await driver.ok(['map-route', 'one', ...route, '--hostname', 'db'])
      await hears('one: who?', { servername: 'db.tcp.story.net' })
      await hears('two: who?', { servername: 'other.tcp.story.net' })
      await hears('two: who?')

      await driver.ok(['delete-route', ...route, '-f'])
      await hears('')
      await hears('one: who?', { servername: 'db.tcp.story.net' })
      open.say('still there?')
      await says(open, 'one: still there?')
      open.close()
      await driver.ok(['delete-shared-domain', 'tcp.story.net', '-f'])
      for (const name of ['one', 'two']) await driver.ok(['delete', name, '-f'])
    } finally {
      driver.close()
    }
  })

  it('pushes a manifest of two apps with variables, an environment and a random route', async () => {
    const driver = await openDriver('bloom', platform)
    const path = example('two-apps')
    expect(readFileSync(join(path, 'manifest.yml'), 'utf8')).toMatch(
      /\(\(.+\)\)[\s\S]*random-route: true|random-route: true[\s\S]*\(\(.+\)\)/,
    )
    await driver.ok(
      ['push', '-f', join(path, 'manifest.yml'), '--vars-file', join(path, 'vars.yml'), '--var', 'greeting=hello'],
      { cwd: path },
    )
    expect((await driver.ok(['apps'])).stdout).toMatch(/started[\s\S]*started/)
    driver.close()
  })
})
