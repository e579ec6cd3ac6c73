import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { type CloudClient, openClient } from '@bloomery/client'
import { push } from '@bloomery/client/push'
import { ask, eventually, freePort, REPOSITORY } from '../platform.js'

// Builds the image and runs the whole file: minutes. Only with --full, and where an engine and compose are at hand.
// BLOOMERY_TEST_COMPOSE_IMAGE names an image to try instead of one that is built from the sources.
const givenImage = process.env['BLOOMERY_TEST_COMPOSE_IMAGE']
const compose = [['docker', 'compose'], ['docker-compose']].find(
  ([program = '', ...rest]) => spawnSync(program, [...rest, 'version'], { stdio: 'ignore' }).status === 0,
)
const suite = process.env['BLOOMERY_TEST_FULL'] && compose ? describe : describe.skip
const [program = '', ...before] = compose ?? []

suite('docker compose, for real', () => {
  const folder = mkdtempSync(join(tmpdir(), 'bloomery-compose-'))
  const project = `bloomtest${process.pid}`
  let port = 0
  let env: NodeJS.ProcessEnv = {}
  const run = (...args: string[]) =>
    execFileSync(program, [...before, ...args], { cwd: folder, env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
  const dockerOut = (...args: string[]) => execFileSync('docker', args, { encoding: 'utf8' }).trim()
  const untilReady = async (): Promise<void> => {
    for (const end = Date.now() + 240_000; Date.now() < end;) {
      if ((await ask(port, 'localhost', '/healthz', { timeoutMs: 3_000 })).status === 200) return
      await new Promise((resolve) => setTimeout(resolve, 500))
    }
    throw new Error(`not ready: ${run('ps')}${run('logs', '--tail=20')}`)
  }

  beforeAll(async () => {
    execFileSync(process.execPath, [join(REPOSITORY, 'e2e/compose/stand-in-images.mjs')], { stdio: 'ignore' })
    for (const name of execFileSync('git', ['ls-files', '-z'], { cwd: REPOSITORY, encoding: 'utf8' }).split('\0').filter(Boolean))
      cpSync(join(REPOSITORY, name), join(folder, name))
    port = await freePort()
    env = {
      ...process.env,
      DOCKER_BUILDKIT: '0',
      COMPOSE_PROJECT_NAME: project,
      BLOOMERY_COMPOSE_FOLDER: folder,
      BLOOMERY_IMAGE: givenImage ?? `bloomery/bloomery:${project}`,
      BLOOMERY_HTTP_PORT: String(port),
      BLOOMERY_HTTPS_PORT: String(await freePort()),
      BLOOMERY_SSH_PORT: String(await freePort()),
      BLOOMERY_API_PORT: String(await freePort()),
      BLOOMERY_API_INTERNAL_PORT: String(await freePort()),
      BLOOMERY_SCHEDULER_PORT: String(await freePort()),
      BLOOMERY_LOGS_PORT: String(await freePort()),
      BLOOMERY_POSTGRES_PORT: String(await freePort()),
      BLOOMERY_BROKER_PORT: String(await freePort()),
      // Those that the platform's own stores run from are here in any case.
      BLOOMERY_SERVICES_POSTGRESQL_IMAGE: 'postgres:15-bookworm',
      BLOOMERY_SERVICES_REDIS_IMAGE: 'redis:7.0-bookworm',
    }
    for (const name of Object.keys(env)) if (name.startsWith('BLOOMERY_TEST_')) delete env[name]
    execFileSync(process.execPath, [join(REPOSITORY, 'apps/bloomery/bin/compose-init.mjs')], { env, stdio: 'ignore' })
    if (givenImage === undefined) run('build')
    run('up', '-d')
    await untilReady()
  }, 1_500_000)

  afterAll(() => {
    if (env['COMPOSE_PROJECT_NAME'] === undefined) return
    run('stop', 'cell', 'broker')
    run('run', '--rm', '--no-deps', 'cell', 'apps/bloomery/dist/stop-apps.entry.js')
    run('down', '-v')
    expect(dockerOut('volume', 'ls', '-q', '--filter', `name=${project}_`)).toBe('')
    if (givenImage === undefined) dockerOut('rmi', `bloomery/bloomery:${project}`)
    rmSync(folder, { recursive: true, force: true })
  }, 300_000)

  const open = () =>
    openClient({
      api: `http://localhost:${port}`,
      credentials: {
        kind: 'password',
        username: 'admin',
        password: readFileSync(join(folder, '.bloomery-compose/secrets/admin-password'), 'utf8').trim(),
      },
    })
  const spaceOf = async (client: CloudClient): Promise<string> => {
    const [organization] = await client.list<{ guid: string }>('/v3/organizations', { names: ['bloomery'] })
    const [space] = await client.list<{ guid: string }>('/v3/spaces', { names: ['dev'], organization_guids: organization!.guid })
    return space!.guid
  }
  const label = () =>
    `label=bloomery.installation=${/^BLOOMERY_INSTALLATION_ID=(.*)$/m.exec(readFileSync(join(folder, '.env'), 'utf8'))?.[1] ?? ''}`

  it('a pushed app is served, outlives `down`, and is there with all its data after `up`', async () => {
    const client = await open()
    const app = { name: 'from-compose', buildpacks: ['staticfile_buildpack'], memory: '64M', 'default-route': true }
    await push(client, {
      spaceGuid: await spaceOf(client),
      manifest: { applications: [app] },
      folder: join(REPOSITORY, 'examples/static-site'),
    })
    const home = () => ask(port, 'from-compose.apps.localhost')
    await eventually('the app is served', 30, home, ({ status }) => status === 200)
    const container = dockerOut('ps', '-q', '--filter', label())

    run('down')
    expect(dockerOut('ps', '-q', '--filter', label())).toBe(container)
    run('up', '-d')
    await untilReady()
    expect(dockerOut('ps', '-q', '--filter', label())).toBe(container)
    await eventually('the app is served again', 30, home, ({ status }) => status === 200)
    const apps = await (await open()).list<{ name: string; state: string }>('/v3/apps')
    expect(apps).toEqual([expect.objectContaining({ name: 'from-compose', state: 'STARTED' })])
  }, 900_000)

  it('the broker is a role of its own: an app uses its services, over a restart of the broker and `down`, until they are deleted', async () => {
    expect(run('exec', '-T', 'broker', 'node', 'apps/bloomery/dist/register-broker.entry.js')).toMatch(/postgresql, redis/)
    let client = await open()
    const spaceGuid = await spaceOf(client)
    const servers = (): string[] =>
      dockerOut('ps', '--format', '{{.Names}}', '--filter', label(), '--filter', 'label=bloomery.purpose=service')
        .split('\n')
        .filter(Boolean)
        .sort()
    const create = async (offering: string, planName: string, name: string): Promise<void> => {
      const [plan] = await client.list<{ guid: string }>('/v3/service_plans', {
        names: [planName],
        service_offering_names: [offering],
      })
      if (!plan) throw new Error(`${offering} is not offered: ${run('logs', '--tail=20', 'broker')}`)
      await client.complete('POST', '/v3/service_instances', {
        json: {
          type: 'managed',
          name,
          relationships: { space: { data: { guid: spaceGuid } }, service_plan: { data: { guid: plan.guid } } },
        },
      })
    }
    await create('postgresql', 'shared', 'my-postgresql')
    await create('redis', 'small', 'my-redis')
    const name = 'services-node'
    await push(client, {
      spaceGuid,
      manifest: { applications: [{ name, memory: '256M', 'default-route': true, services: ['my-postgresql', 'my-redis'] }] },
      folder: join(REPOSITORY, 'examples', name),
    })
    const note = (kind: string, body?: string) =>
      ask(port, `${name}.apps.localhost`, `/${kind}/one`, body === undefined ? {} : { method: 'PUT', body })
    const kinds = ['postgresql', 'redis']
    await eventually(
      'the app is served',
      30,
      () => ask(port, `${name}.apps.localhost`),
      ({ status }) => status === 200,
    )
    for (const kind of kinds) expect([kind, (await note(kind, `kept in ${kind}`)).status]).toEqual([kind, 201])
    const reads = async (): Promise<void> => {
      for (const kind of kinds)
        expect([kind, await note(kind)]).toEqual([
          kind,
          expect.objectContaining({ status: 200, body: expect.stringContaining(`kept in ${kind}`) }),
        ])
    }
    const before = servers()
    expect(before).toHaveLength(2)

    // Servers are containers of their own, which no end of the broker ends.
    run('restart', 'broker')
    await reads()
    expect(servers()).toEqual(before)
    run('down')
    expect(servers()).toEqual(before)
    run('up', '-d')
    await untilReady()
    await reads()
    client = await open()
    await create('postgresql', 'shared', 'another')

    const [app] = await client.list<{ guid: string }>('/v3/apps', { names: [name] })
    await client.complete('DELETE', `/v3/apps/${app!.guid}`)
    for (const { guid } of await client.list<{ guid: string }>('/v3/service_instances'))
      await client.complete('DELETE', `/v3/service_instances/${guid}`)
    // What the shared plan is on rests after a while; a server of one's own goes at once.
    expect(servers().filter((server) => server.includes('redis'))).toEqual([])
  }, 900_000)
})
