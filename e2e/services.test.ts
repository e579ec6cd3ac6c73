import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { availableDrivers, openDriver, type Driver } from './drivers.js'
import { example } from './fixtures.js'
import { eventually, startPlatform, type Answer, type Platform } from './platform.js'
import { processesOf } from './processes.js'

/** Offering → the plan that the story takes, and what to install where it is missing. */
const WANTED = {
  mysql: { plan: 'shared', remedy: 'mariadb-server' },
  postgresql: { plan: 'shared', remedy: 'postgresql' },
  redis: { plan: 'small', remedy: 'redis-server' },
  mongodb: { plan: 'development', remedy: 'default-jdk-headless maven' },
  rabbitmq: { plan: 'shared', remedy: 'rabbitmq-server' },
} as const
type Kind = keyof typeof WANTED
/** The one in Java is built by Maven while it is staged, which takes a minute or more. */
const APPS = ['services-node', 'services-python', ...(process.env['BLOOMERY_TEST_FULL'] ? ['services-java'] : [])]
const SERVERS = /mariadbd|mysqld|postgresql-|redis-server .*services|mongo-gate|DevelopmentServer|beam\.smp/

describe('services of the bundled broker, used by apps', () => {
  let platform: Platform
  let driver: Driver
  const kinds: Kind[] = []

  beforeAll(async () => {
    platform = await startPlatform({ engine: 'docker' })
    // The real client where there is one.
    driver = await openDriver(availableDrivers().at(-1) ?? 'bloom', platform)
    const { stdout } = await eventually(
      'the broker is registered',
      120,
      () => driver.ok(['marketplace']),
      (found) => /redis/.test(found.stdout),
    )
    for (const kind of Object.keys(WANTED) as Kind[])
      if (new RegExp(`^${kind}\\b`, 'm').test(stdout)) kinds.push(kind)
      else process.stderr.write(`LEFT OUT: ${kind} in the story of services: apt-get install ${WANTED[kind].remedy}\n`)
  }, 360_000)
  afterAll(async () => {
    driver?.close()
    await platform?.stop()
  }, 120_000)

  const ask = (app: string, kind: Kind, id: string, text?: string): Promise<Answer> =>
    platform.request(`${app}.apps.localhost`, `/${kind}/${id}`, {
      ...(text === undefined ? {} : { method: 'PUT', body: text }),
      timeoutMs: 20_000,
    })
  /** The example in Python has no client for RabbitMQ. */
  const kindsOf = (app: string): Kind[] => kinds.filter((kind) => app !== 'services-python' || kind !== 'rabbitmq')
  const unboundOnes = APPS.filter((app) => app !== 'services-python')

  it('makes an instance of each kind, which apps in different languages find in VCAP_SERVICES', async () => {
    expect(kinds).toEqual(expect.arrayContaining(['postgresql', 'redis']))
    await Promise.all([
      ...kinds.map((kind) => driver.ok(['create-service', kind, WANTED[kind].plan, `my-${kind}`, '--wait'])),
      ...APPS.map((app) => driver.ok(['push', app, '-p', example(app), '--no-start'], { cwd: example(app) })),
    ])
    for (const app of APPS) for (const kind of kindsOf(app)) await driver.ok(['bind-service', app, `my-${kind}`, '--wait'])
    await Promise.all(APPS.map((app) => driver.ok(['start', app])))
    for (const app of APPS) {
      const { body } = await eventually(
        `${app} answers`,
        60,
        () => platform.request(`${app}.apps.localhost`),
        ({ status }) => status === 200,
      )
      expect([...(JSON.parse(body) as { bound: string[] }).bound].sort()).toEqual(kindsOf(app).sort())
    }
  }, 480_000)

  it('lets all write and read, and each read what the other wrote', async () => {
    for (const app of APPS)
      for (const kind of kindsOf(app)) {
        const written = await ask(app, kind, `from-${app}`, `a note by ${app}`)
        expect([app, kind, written.status, written.body]).toEqual([app, kind, 201, expect.anything()])
      }
    for (const app of APPS)
      for (const kind of kindsOf(app))
        for (const from of kind === 'rabbitmq' ? [app] : APPS) {
          const { status, body } = await ask(app, kind, `from-${from}`)
          expect([app, kind, status, body]).toEqual([app, kind, 200, expect.stringContaining(`a note by ${from}`)])
        }
  }, 60_000)

  it('shuts out who is unbound, at once and at the server itself, and nobody else', async () => {
    for (const app of unboundOnes) for (const kind of kinds) await driver.ok(['unbind-service', app, `my-${kind}`, '--wait'])
    // The apps still run with the credentials that they were started with.
    for (const app of unboundOnes)
      for (const kind of kinds) {
        const { status, body } = await ask(app, kind, `from-${app}`)
        expect([app, kind, status, body]).toEqual([
          app,
          kind,
          502,
          expect.stringMatching(/denied|authentication|WRONGPASS|NOAUTH|does not exist|not permitted|refused/i),
        ])
      }
    for (const kind of kindsOf('services-python'))
      expect([kind, (await ask('services-python', kind, 'from-services-node')).status]).toEqual([kind, 200])
  }, 60_000)

  it('leaves nothing of what is deleted', async () => {
    await Promise.all(APPS.map((app) => driver.ok(['delete', app, '-f', '-r'])))
    await Promise.all(kinds.map((kind) => driver.ok(['delete-service', `my-${kind}`, '-f', '--wait'])))
    expect((await driver.ok(['services'])).stdout).not.toMatch(/my-/)
    const folder = join(platform.home, 'services/servers')
    const dedicated = (): string[] => (existsSync(folder) ? readdirSync(folder).filter((name) => !name.endsWith('-shared')) : [])
    await eventually(
      'their folders are gone',
      20,
      async () => dedicated(),
      (left) => left.length === 0,
    )
    await eventually(
      'their servers have ended',
      20,
      async () => processesOf(platform.home).filter(({ command }) => SERVERS.test(command) && !/-shared/.test(command)),
      (left) => left.length === 0,
    )
  }, 120_000)
})
