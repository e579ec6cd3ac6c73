import { randomBytes } from 'node:crypto'
import { createPool, type Pool, rows, sql } from '@bloomery/database/sql'
import { Keyring } from '@bloomery/secrets'
import { silentLogger } from '@bloomery/telemetry'
import { withPostgres } from '@bloomery/testing'
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals'
import { inBrokerSchema, prepareSchema } from './schema.js'
import { reseal } from './reseal.js'
import { addServer } from './servers.js'
import { Vault } from './vault.js'

describe('secrets of the broker', () => {
  const state = withPostgres({ migrated: false })
  let pool: Pool
  beforeAll(async () => {
    pool = createPool(inBrokerSchema(state.url), { max: 2 })
    await Promise.all([prepareSchema(pool), prepareSchema(pool)])
  })
  afterAll(() => pool.end())

  it('come under the current key after a rotation, and need the former one no more', async () => {
    const keys = new Map([
      ['k1', randomBytes(32)],
      ['k2', randomBytes(32)],
    ])
    const before = new Vault(new Keyring('k1', keys))
    const server = { name: 's', kind: 'redis', address: '127.0.0.1', ports: {}, memoryMb: 1, diskMb: 1 }
    await addServer(pool, { ...server, secret: before.seal('of the server', 'server:s') })
    await pool.query(
      `INSERT INTO instances (guid, service_id, plan_id, organization_guid, space_guid, parameters, state) VALUES ('i', 's', 'p', 'o', 's', '{}', 'ready')`,
    )
    await pool.query(
      `INSERT INTO bindings (guid, instance_guid, request, username, password, answer, state) VALUES ('b', 'i', '{}', 'u', $1, NULL, 'binding')`,
      [before.seal('of the user', 'binding:b')],
    )
    const after = new Vault(new Keyring('k2', keys))
    const uses = () => rows(pool, sql`SELECT kid, secrets FROM secrets_by_key`)
    expect(await uses()).toEqual([{ kid: 'k1', secrets: 2 }])
    expect(await reseal({ pool, vault: after, log: silentLogger })).toBe(2)
    expect(await uses()).toEqual([{ kid: 'k2', secrets: 2 }])
    expect(await reseal({ pool, vault: after, log: silentLogger })).toBe(0)
    const alone = new Vault(new Keyring('k2', new Map([['k2', keys.get('k2') ?? Buffer.alloc(0)]])))
    const [found] = await rows<{ secret: unknown; password: unknown }>(pool, sql`SELECT secret, password FROM servers, bindings`)
    expect(alone.open(found?.secret, 'server:s')).toBe('of the server')
    expect(alone.open(found?.password, 'binding:b')).toBe('of the user')
  })
})
