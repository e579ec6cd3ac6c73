import { randomBytes } from 'node:crypto'
import { describe, expect, it } from '@jest/globals'
import { rows, sql } from '@bloomery/database'
import { Keyring } from '@bloomery/secrets'
import { withPostgres } from '@bloomery/testing'
import { RouteServiceKeys } from './route-service-keys.js'

const MINUTE = 60_000
const DAY = 86_400_000
const postgres = withPostgres()

describe('keys of route services', () => {
  it('are announced before they sign, verify after they signed, and are no secret to nobody else', async () => {
    let now = Date.parse('2026-01-01')
    const keyring = new Keyring('k', new Map([['k', randomBytes(32)]]))
    const keys = new RouteServiceKeys(postgres.pool, keyring, () => new Date(now))
    const guids = async () => (await keys.list()).map(({ guid }) => guid)
    const [first] = await keys.list()
    expect(Buffer.from(first?.key ?? '', 'base64')).toHaveLength(32)
    const [stored] = await rows<{ text: string }>(
      postgres.pool,
      sql`SELECT secret_encrypted::text AS text FROM route_service_keys`,
    )
    expect(stored?.text).not.toContain(first?.key)

    now += 30 * DAY + 1
    const announced = await guids()
    expect(announced).toHaveLength(2)
    expect(announced[0]).toBe(first?.guid)
    now += 11 * MINUTE
    expect(await guids()).toEqual([announced[1], first?.guid])
    now += DAY
    expect(await guids()).toEqual([announced[1]])
  })
  it('are made once, however many ask at once', async () => {
    const keyring = new Keyring('k', new Map([['k', randomBytes(32)]]))
    const later = new Date(Date.parse('2027-01-01'))
    const answers = await Promise.all(
      Array.from({ length: 4 }, () => new RouteServiceKeys(postgres.pool, keyring, () => later).rotate()),
    )
    expect(answers).toHaveLength(4)
    const [count] = await rows<{ n: number }>(
      postgres.pool,
      sql`SELECT count(*)::int AS n FROM route_service_keys WHERE expires_at IS NULL`,
    )
    expect(count?.n).toBe(1)
  })
})
