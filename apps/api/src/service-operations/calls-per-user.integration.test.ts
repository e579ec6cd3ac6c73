import { SharedSlots } from '@bloomery/queues'
import { eventually, withRedis } from '@bloomery/testing'
import { CallsPerUser } from './calls-per-user.js'

type Asked = Parameters<CallsPerUser['within']>[0]

describe('the answers of brokers that one user waits for', () => {
  const redis = withRedis()
  const open: SharedSlots[] = []
  afterEach(() => Promise.all(open.splice(0).map((each) => each.close())))

  /** An api process; `isAway`: its Redis never answers. */
  const aProcess = async (max: number, isAway = false) => {
    const slots = new SharedSlots(isAway ? 'redis://127.0.0.1:1' : redis.url, 30_000)
    open.push(slots)
    if (!isAway) await eventually(async () => (await slots.take('connected', 1_000_000, 600_000)).kind === 'taken')
    const calls = new CallsPerUser({ max, timeoutMs: 60_000, slots })
    const headers: string[] = []
    const reply = { header: (name: string) => headers.push(name) } as unknown as Parameters<typeof calls.within>[1]
    const begun: (() => void)[] = []
    return {
      headers,
      begun,
      /** Resolves with how it ended; the work is under way until what it adds to `begun` is called. */
      ask: (guid: string, isGlobalReader = false): Promise<string> =>
        calls
          .within({ access: { isGlobalReader }, principal: { guid } } as Asked, reply, () => {
            return new Promise<string>((resolve) => begun.push(() => resolve('answered')))
          })
          .catch((error: unknown) => (error instanceof Error ? error.message : 'no error')),
    }
  }
  const REFUSED = 'Service broker concurrent request limit exceeded'

  it('are counted over all processes of the API', async () => {
    const [one, other] = [await aProcess(2), await aProcess(2)]
    const first = one.ask('anna')
    await eventually(() => one.begun.length === 1)
    const second = other.ask('anna')
    await eventually(() => other.begun.length === 1)
    expect([await one.ask('anna'), await other.ask('anna')]).toEqual([REFUSED, REFUSED])
    expect([one.headers, other.headers]).toEqual([['retry-after'], ['retry-after']])
    // Others and operators are not held up.
    const others = [other.ask('bert'), other.ask('anna', true)]
    await eventually(() => other.begun.length === 3)
    // What has come makes room.
    one.begun[0]?.()
    expect(await first).toBe('answered')
    const third = await eventually(async () => {
      const asked = other.ask('anna')
      const begun = await Promise.race([asked, eventually(() => other.begun.length === 4)])
      return begun === REFUSED ? undefined : { asked }
    })
    for (const answer of other.begun) answer()
    expect(await Promise.all([second, third.asked, ...others])).toEqual(Array(4).fill('answered'))
  })

  it('are counted by each process for itself while Redis is away', async () => {
    const [one, other] = [await aProcess(1, true), await aProcess(1, true)]
    const held = [one.ask('carl'), other.ask('carl')]
    await eventually(() => one.begun.length === 1 && other.begun.length === 1)
    expect([await one.ask('carl'), await other.ask('carl')]).toEqual([REFUSED, REFUSED])
    for (const answer of [...one.begun, ...other.begun]) answer()
    expect(await Promise.all(held)).toEqual(['answered', 'answered'])
    const again = one.ask('carl')
    await eventually(() => one.begun.length === 2)
    one.begun[1]?.()
    expect(await again).toBe('answered')
  })
})
