import { execFileSync, spawnSync } from 'node:child_process'
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { ROOT_STORAGE } from '@bloomery/embedded'
import { withPostgres } from '@bloomery/testing'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import type { Broker } from '../../broker.js'
import { TestHome } from '../../testing/broker-under-test.fixture.js'
import { countThings, MongodbClients, tryBackupAndRestore, tryServersOfTheirOwn } from '../../testing/mongodb.fixture.js'
import { buildMongodPrograms } from '../../testing/mongod-programs.fixture.js'
import type { OsbCaller } from '../../testing/osb-caller.fixture.js'
import { stopAllServers } from '../../servers/stop-servers.js'
import { DEVELOPMENT_PLANS, MONGOD_PLANS, MONGODB } from './plans.js'

const [small, large] = MONGOD_PLANS.map(({ id }) => id) as [string, string]
/** A real one, where there is one; else an image with stand-ins in it. */
const GIVEN = process.env['BLOOMERY_TEST_MONGODB_IMAGE']
const BASES = ['debian:bookworm-slim', 'bloomery/stack:bookworm']
const base = BASES.find((image) => spawnSync('docker', ['image', 'inspect', image], { stdio: 'ignore' }).status === 0)
if (GIVEN === undefined)
  process.stderr.write(
    'MongoDB itself is tested with a stand-in for its programs: BLOOMERY_TEST_MONGODB_IMAGE=mongo:7.0 names an image to test with.\n',
  )

const folder = mkdtempSync(join(tmpdir(), 'bloomery-mongod-'))
const image = GIVEN ?? `bloomery-test/mongo:${process.pid}`
beforeAll(async () => {
  chmodSync(folder, 0o755)
  await buildMongodPrograms(join(folder, 'bin'))
}, 60_000)
afterAll(() => {
  if (GIVEN === undefined && base !== undefined) spawnSync('docker', ['rmi', '-f', image], { stdio: 'ignore' })
  rmSync(folder, { recursive: true, force: true })
})

function buildImage(): void {
  if (GIVEN !== undefined) return
  const context = join(folder, 'image')
  cpSync(join(folder, 'bin'), context, { recursive: true })
  cpSync(realpathSync(process.execPath), join(context, 'node'))
  writeFileSync(join(context, 'Dockerfile'), `FROM ${base ?? ''}\nCOPY node mongod mongodump mongorestore /usr/local/bin/\n`)
  const env = { ...process.env, DOCKER_BUILDKIT: '0' }
  execFileSync('docker', ['build', '-q', '-t', image, context], { env, stdio: 'ignore' })
}

const ways: readonly (readonly [string, boolean])[] = [
  ['programs of the machine', GIVEN === undefined],
  // An image is built for it, and containers take their time: with the longer suites.
  ['an image', GIVEN !== undefined || (base !== undefined && process.env['BLOOMERY_TEST_FULL'] === '1')],
]
for (const [way, possible] of ways)
  (possible ? describe : describe.skip)(`MongoDB itself, from ${way}`, () => {
    const state = withPostgres({ migrated: false })
    const home = new TestHome()
    const clients = new MongodbClients()
    const pathBefore = process.env['PATH']
    let broker: Broker & { platform: OsbCaller }
    const instance = (plan = small) => broker.platform.instance(MONGODB.id, plan)
    const containers = (): string[] =>
      way === 'an image'
        ? execFileSync('docker', ['ps', '-aq', '--filter', `label=bloomery.installation=${home.installationId}`], {
            encoding: 'utf8',
          })
            .split('\n')
            .filter(Boolean)
        : []
    const start = () =>
      home.start(state.url, {
        environment:
          way === 'an image'
            ? {
                BLOOMERY_ENGINE: 'docker',
                BLOOMERY_SERVICES_FROM: 'images',
                BLOOMERY_SERVICES_ADDRESS: '127.0.0.1',
                BLOOMERY_SERVICES_MONGODB_IMAGE: image,
              }
            : {},
      })
    beforeAll(async () => {
      if (way === 'an image') buildImage()
      else process.env['PATH'] = `${join(folder, 'bin')}${delimiter}${pathBefore ?? ''}`
      broker = await start()
    }, 120_000)
    afterAll(async () => {
      process.env['PATH'] = pathBefore
      await clients.close()
      await broker?.close()
      if (containers().length > 0) execFileSync('docker', ['rm', '-f', ...containers()], { stdio: 'ignore' })
      await home.remove()
    }, 60_000)

    it('has plans that say so, beside those of the development server', async () => {
      const { body } = await broker.platform.call('GET', '/v2/catalog')
      const services = body['services'] as { name: string; plans: { id: string; name: string; description: string }[] }[]
      const plans = services.find(({ name }) => name === 'mongodb')?.plans ?? []
      expect(plans.slice(0, 2).map(({ name }) => name)).toEqual(['small', 'large'])
      for (const { id, name, description } of plans) {
        const real = MONGOD_PLANS.some((plan) => plan.id === id)
        expect([name, description]).toEqual([
          expect.stringMatching(real ? /^(small|large)$/ : /^development/),
          expect.stringMatching(real ? /^A MongoDB server/ : /not MongoDB/),
        ])
      }
    })

    it('gives each instance a server, and each binding a user who may use its database and nothing else', async () => {
      const [one, two] = [instance(), instance()]
      await tryServersOfTheirOwn([one, two], clients, async ({ db, credentials }) => {
        await expect(db.command({ createUser: 'another', pwd: 'x', roles: [] })).rejects.toThrow(/not authorized/i)
        await expect(db.admin().command({ usersInfo: 1 })).rejects.toThrow(/not authorized/i)
        const anonymous = String(credentials['uri']).replace(/\/\/[^@]*@/, '//')
        await expect(clients.connect({ uri: anonymous }).then(countThings)).rejects.toThrow(
          /not authorized|requires authentication/i,
        )
        expect(await one.update({ plan_id: DEVELOPMENT_PLANS[0]?.id ?? '' })).toMatchObject({
          state: 'failed',
          description: expect.stringMatching(/different software/),
        })
      })
    }, 90_000)

    it('keeps data and users over backup, restore, a damaged backup, plan changes and the death of server and broker', async () => {
      const one = instance()
      await one.create()
      const { credentials } = await one.bind()
      let db = await clients.connect(credentials)
      await db.collection('things').insertMany(Array.from({ length: 100 }, (_, n) => ({ n })))
      const backup = await tryBackupAndRestore(one, db)

      const roots = [home.home, join(ROOT_STORAGE, home.installationId)].filter((root) => existsSync(root))
      const [file = ''] = roots.flatMap((root) => filesNamed(root, backup))
      writeFileSync(file, readFileSync(file).subarray(0, 40))
      expect(await one.update({ parameters: { restore: backup } })).toMatchObject({
        state: 'failed',
        description: expect.stringMatching(/could not be read; the data are as they were/),
      })
      expect(await countThings(db)).toBe(100)

      expect(await one.update({ plan_id: large })).toMatchObject({ state: 'succeeded' })
      expect(await countThings(await clients.connect(credentials))).toBe(100)
      await broker.close()
      if (containers().length > 0) execFileSync('docker', ['kill', ...containers()], { stdio: 'ignore' })
      else await stopAllServers({ runFolder: join(home.home, 'run/services') })
      broker = await start()
      const again = broker.platform.instance(MONGODB.id, large, one.guid)
      expect((await again.bind()).credentials).toMatchObject({ host: credentials['host'], port: credentials['port'] })
      db = await clients.connect(credentials)
      expect(await countThings(db)).toBe(100)
      const metrics = JSON.stringify((await broker.platform.call('GET', '/metrics')).body)
      for (const name of ['data_bytes', 'connections', 'memory_bytes'])
        expect(metrics).toContain(`bloomery_service_${name}{instance=`)
      expect(await again.remove()).toMatchObject({ state: 'succeeded' })
      expect(containers()).toEqual([])
    }, 120_000)
  })

const filesNamed = (folder: string, name: string): string[] =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith(name))
    .map((path) => join(folder, path))
