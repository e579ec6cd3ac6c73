import { execFileSync } from 'node:child_process'
import { createPool } from '@bloomery/database/sql'
import { withPostgres } from '@bloomery/testing'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import type { Broker } from '../broker.js'
import { POSTGRESQL, POSTGRESQL_PLANS } from '../engines/postgresql/plans.js'
import { TestHome } from '../testing/broker-under-test.fixture.js'
import type { OsbCaller } from '../testing/osb-caller.fixture.js'

const image = process.env['BLOOMERY_TEST_POSTGRESQL_IMAGE'] ?? 'postgres:17-bookworm'

function isThere(): boolean {
  try {
    execFileSync('docker', ['image', 'inspect', image], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}
if (!isThere())
  console.warn(`The image ${image} is not on an engine here: servers from images are NOT tested. docker pull ${image} brings it.`)
const describeIfThere = isThere() ? describe : describe.skip

describeIfThere('a server from an official image', () => {
  const state = withPostgres({ migrated: false })
  const home = new TestHome()
  let broker: Broker & { platform: OsbCaller }
  const start = () =>
    home.start(state.url, {
      environment: {
        BLOOMERY_ENGINE: 'docker',
        BLOOMERY_SERVICES_FROM: 'images',
        BLOOMERY_SERVICES_ADDRESS: '127.0.0.1',
        BLOOMERY_SERVICES_POSTGRESQL_IMAGE: image,
      },
    })
  const containers = (): string[] =>
    execFileSync('docker', ['ps', '-aq', '--filter', `label=bloomery.installation=${home.installationId}`], { encoding: 'utf8' })
      .split('\n')
      .filter(Boolean)
  beforeAll(async () => {
    broker = await start()
  }, 60_000)
  afterAll(async () => {
    await broker.close()
    if (containers().length > 0) execFileSync('docker', ['rm', '-f', ...containers()], { stdio: 'ignore' })
    await home.remove()
  }, 60_000)

  it('serves, keeps its data over its death and the broker’s, is backed up, and goes with its instance', async () => {
    const [, plan] = POSTGRESQL_PLANS
    const one = broker.platform.instance(POSTGRESQL.id, plan?.id ?? '')
    expect(await one.create()).toEqual({ state: 'succeeded' })
    const { credentials } = await one.bind()
    const ask = async (text: string) => {
      const pool = createPool(String(credentials['uri']), { max: 1 })
      return (await pool.query(text).finally(() => pool.end())).rows as unknown[]
    }
    await ask('CREATE TABLE t AS SELECT generate_series(1, 10) AS n')
    expect(await one.update({ parameters: { backup: true } })).toMatchObject({ state: 'succeeded' })
    await broker.close()
    expect(await ask('SELECT count(*)::int AS n FROM t')).toEqual([{ n: 10 }])
    execFileSync('docker', ['kill', ...containers()], { stdio: 'ignore' })
    broker = await start()
    const again = broker.platform.instance(POSTGRESQL.id, plan?.id ?? '', one.guid)
    const { body } = await again.fetch()
    const [backup] = (body['parameters'] as { backups: { id: string }[] }).backups
    expect(await again.update({ parameters: { restore: backup?.id } })).toMatchObject({ state: 'succeeded' })
    expect(await ask('SELECT count(*)::int AS n FROM t')).toEqual([{ n: 10 }])
    const [config] = JSON.parse(execFileSync('docker', ['inspect', ...containers()], { encoding: 'utf8' })) as {
      HostConfig: object
    }[]
    expect(config?.HostConfig).toMatchObject({
      ReadonlyRootfs: true,
      CapDrop: ['ALL'],
      Memory: 256 * 1024 * 1024,
      NetworkMode: 'host',
    })
    expect(await again.remove()).toMatchObject({ state: 'succeeded' })
    expect(containers()).toEqual([])
  }, 120_000)
})
