import { describe, expect, it } from '@jest/globals'
import { eventually, withPostgres, withRedis } from './index.js'

describe('withPostgres', () => {
  const first = withPostgres()
  const second = withPostgres()

  it('gives each its own migrated database', async () => {
    await first.pool.query(`INSERT INTO settings (name, value, updated_at) VALUES ('a', '1', now())`)
    expect((await second.pool.query('SELECT * FROM settings')).rowCount).toBe(0)
    expect((await first.pool.query('SELECT * FROM settings')).rowCount).toBe(1)
  })
})

describe('withRedis', () => {
  const redis = withRedis()
  it('can be killed and comes back at its address', async () => {
    const before = redis.url
    redis.kill()
    await redis.restart()
    expect(redis.url).toBe(before)
  })
})

describe('eventually', () => {
  it('waits for a value', async () => {
    let calls = 0
    expect(await eventually(() => (++calls > 2 ? calls : undefined), { intervalMs: 1 })).toBe(3)
  })
  it('gives up with the last reason', async () => {
    const failing = eventually(
      () => {
        throw new Error('not yet')
      },
      { timeoutMs: 20, intervalMs: 1 },
    )
    await expect(failing).rejects.toMatchObject({ cause: new Error('not yet') })
  })
})
