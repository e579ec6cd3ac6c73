import { randomUUID } from 'node:crypto'
import { execute, rows, sql, type SqlQuery } from '@bloomery/database'
import { withPostgres } from '@bloomery/testing'
import { claim, isDue, type Claim } from './claims.js'

describe('claims', () => {
  const state = withPostgres()
  const taken: Claim[] = []
  afterEach(() => taken.splice(0).forEach((each) => each.release()))

  /** One that is due since a minute. */
  const orphan = async (): Promise<string> => {
    const guid = randomUUID()
    await execute(
      state.pool,
      sql`INSERT INTO orphan_mitigations (guid, kind, service_instance_guid, broker_guid, service_catalog_id, plan_catalog_id, reason, next_attempt_at)
          VALUES (${guid}, 'instance', 'i', 'b', 's', 'p', 'late', now() - interval '1 minute')`,
    )
    return guid
  }
  const take = async (guid: string, owner: string): Promise<Claim | undefined> => {
    const held = await claim(state.pool, 'orphan_mitigations', guid, owner)
    if (held) taken.push(held)
    return held
  }
  const due = async (): Promise<string[]> =>
    (await rows<{ guid: string }>(state.pool, sql`SELECT guid FROM orphan_mitigations WHERE ${isDue('orphan_mitigations')}`)).map(
      ({ guid }) => guid,
    )
  const letGo = (guid: string, outcome: SqlQuery) =>
    execute(
      state.pool,
      sql`UPDATE orphan_mitigations SET claimed_by = NULL, claim_expires_at = NULL, ${outcome} WHERE guid = ${guid}`,
    )

  it('go to one alone, and to the next with a higher token once they have run out', async () => {
    const guid = await orphan()
    const all = await Promise.all(Array.from({ length: 8 }, (_, i) => take(guid, `owner-${i}`)))
    const [first, ...others] = all.filter((each) => each !== undefined)
    expect(others).toEqual([])
    expect(await due()).not.toContain(guid)
    await execute(
      state.pool,
      sql`UPDATE orphan_mitigations SET claim_expires_at = now() - interval '1 second' WHERE guid = ${guid}`,
    )
    expect((await take(guid, 'another'))?.token).toBe((first?.token ?? 0n) + 1n)
  })

  it.each([
    ['is to be tried again later', sql`next_attempt_at = now() + interval '1 hour'`],
    ['is given up', sql`given_up_at = now()`],
  ])('are for nobody who looked it up before it was done, and now %s', async (_name, outcome) => {
    const guid = await orphan()
    expect(await due()).toContain(guid)
    // Another process has looked, too, and is faster.
    await take(guid, 'faster')
    await letGo(guid, outcome)
    expect(await take(guid, 'slower')).toBeUndefined()
    const [row] = await rows<{ claimed_by: string | null }>(
      state.pool,
      sql`SELECT claimed_by FROM orphan_mitigations WHERE guid = ${guid}`,
    )
    expect(row).toEqual({ claimed_by: null })
  })
})
