import { randomBytes, randomUUID } from 'node:crypto'
import { describe, expect, it } from '@jest/globals'
import { rows, sql } from '@bloomery/database'
import { Keyring } from '@bloomery/secrets'
import { silentLogger } from '@bloomery/telemetry'
import { withPostgres } from '@bloomery/testing'
import { variablesContext } from '../runs/environment-sources.js'
import { ENCRYPTED_COLUMNS } from './encrypted-columns.js'
import { Reencryption } from './reencryption.js'

const postgres = withPostgres()
const APPS = 350
const keys = new Map(['k1', 'k2'].map((id) => [id, randomBytes(32)]))
const before = new Keyring('k1', keys)
const after = new Keyring('k2', keys)

const fill = async (): Promise<string[]> => {
  const { pool } = postgres
  await pool.query(`INSERT INTO organization_quotas (guid, name) VALUES ('q', 'q') ON CONFLICT DO NOTHING`)
  await pool.query(`INSERT INTO organizations (guid, name, quota_guid) VALUES ('o', 'o', 'q') ON CONFLICT DO NOTHING`)
  await pool.query(`INSERT INTO spaces (guid, name, organization_guid) VALUES ('s', 's', 'o') ON CONFLICT DO NOTHING`)
  await pool.query('DELETE FROM apps')
  const guids = Array.from({ length: APPS }, () => randomUUID())
  for (const guid of guids)
    await pool.query(
      'INSERT INTO apps (guid, name, space_guid, environment_variables_encrypted) VALUES ($1, $1, $2, $3::jsonb)',
      [guid, 's', JSON.stringify(before.encryptJson({ SECRET: guid }, variablesContext(guid)))],
    )
  return guids
}
const read = async (keyring: Keyring, guid: string): Promise<string> => {
  const [row] = await rows<{ secret: unknown }>(
    postgres.pool,
    sql`SELECT environment_variables_encrypted AS secret FROM apps WHERE guid = ${guid}`,
  )
  return keyring.decrypt(row?.secret, variablesContext(guid))
}
const aRun = () => new Reencryption({ pool: postgres.pool, keyring: after, log: silentLogger })

describe('re-encryption', () => {
  it('knows every column that holds secrets', async () => {
    const found = await rows<{ name: string }>(
      postgres.pool,
      sql`SELECT table_name || '.' || column_name AS name FROM information_schema.columns
          WHERE table_schema = current_schema() AND column_name LIKE '%\\_encrypted' ORDER BY 1`,
    )
    expect(ENCRYPTED_COLUMNS.map(({ table, column }) => `${table}.${column}`).sort()).toEqual(found.map(({ name }) => name))
  })

  it('brings all secrets under the current key, once', async () => {
    const guids = await fill()
    const run = aRun()
    expect(await run.uses()).toEqual({ k1: APPS })
    expect(await run.run()).toEqual({ done: APPS, unreadable: 0 })
    expect(await run.uses()).toEqual({ k2: APPS })
    expect(await run.run()).toEqual({ done: 0, unreadable: 0 })
    for (const guid of guids.slice(0, 5)) expect(JSON.parse(await read(after, guid))).toEqual({ SECRET: guid })
  })

  it("counts the bundled broker's secrets, which it encrypts anew itself", async () => {
    await fill()
    await aRun().run()
    await postgres.pool.query(
      `CREATE SCHEMA bloomery_broker; CREATE VIEW bloomery_broker.secrets_by_key AS SELECT * FROM (VALUES ('k1', 3), ('k2', 4)) AS v (kid, secrets)`,
    )
    expect(await aRun().uses()).toEqual({ k1: 3, k2: APPS + 4 })
    await postgres.pool.query('DROP SCHEMA bloomery_broker CASCADE')
  })

  it('loses nothing that is written meanwhile, and goes on where a killed one stopped', async () => {
    const guids = await fill()
    const first = aRun()
    const running = first.run()
    const changed = guids.slice(0, 50)
    await Promise.all(
      changed.map((guid) =>
        postgres.pool.query('UPDATE apps SET environment_variables_encrypted = $1::jsonb WHERE guid = $2', [
          JSON.stringify(before.encryptJson({ SECRET: 'changed' }, variablesContext(guid))),
          guid,
        ]),
      ),
    )
    await first.close()
    await running
    await Promise.all([aRun().run(), aRun().run()])
    expect(await aRun().uses()).toEqual({ k2: APPS })
    for (const guid of changed) expect(JSON.parse(await read(after, guid))).toEqual({ SECRET: 'changed' })
  })

  it('leaves alone what it cannot read, and says so', async () => {
    const [guid] = await fill()
    const stray = new Keyring('k9', new Map([['k9', randomBytes(32)]]))
    await postgres.pool.query('UPDATE apps SET environment_variables_encrypted = $1::jsonb WHERE guid = $2', [
      JSON.stringify(stray.encryptJson({}, 'x')),
      guid,
    ])
    expect(await aRun().run()).toEqual({ done: APPS - 1, unreadable: 1 })
    expect(await aRun().uses()).toEqual({ k2: APPS - 1, k9: 1 })
  })
})
