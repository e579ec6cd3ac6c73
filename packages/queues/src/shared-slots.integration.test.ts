import { eventually, withRedis } from '@bloomery/testing'
import { SharedSlots, type SlotAnswer } from './shared-slots.js'

const LONG_MS = 600_000

describe('slots that processes share', () => {
  const redis = withRedis()
  const open: SharedSlots[] = []
  afterEach(() => Promise.all(open.splice(0).map((each) => each.close())))
  /** As a process of its own, connected; on a busy machine it waits long. */
  const aProcess = async (patienceMs = 30_000): Promise<SharedSlots> => {
    const slots = new SharedSlots(redis.url, patienceMs)
    open.push(slots)
    await eventually(async () => (await slots.take('connected', 1_000_000, LONG_MS)).kind === 'taken')
    return slots
  }
  const giveBack = (answer: SlotAnswer | undefined): void => {
    if (answer?.kind !== 'taken') throw new Error(`nothing was taken: ${answer?.kind ?? 'nothing'}`)
    answer.slot.giveBack()
  }

  it('are as many in all as one may have, however many ask at once', async () => {
    const [one, other] = [await aProcess(), await aProcess()]
    const asked = await Promise.all(Array.from({ length: 20 }, (_, i) => (i % 2 === 0 ? one : other).take('anna', 3, LONG_MS)))
    const taken = asked.filter(({ kind }) => kind === 'taken')
    expect([taken.length, asked.filter(({ kind }) => kind === 'full').length]).toEqual([3, 17])
    expect((await other.take('bert', 3, LONG_MS)).kind).toBe('taken')
    giveBack(taken[0])
    // Twice is once.
    giveBack(taken[0])
    await eventually(async () => (await other.take('anna', 3, LONG_MS)).kind === 'taken')
    expect((await one.take('anna', 3, LONG_MS)).kind).toBe('full')
  })

  it('come back by themselves where their process died', async () => {
    const dying = await aProcess()
    expect((await dying.take('carl', 1, 100)).kind).toBe('taken')
    const next = await aProcess()
    await eventually(async () => (await next.take('carl', 1, LONG_MS)).kind === 'taken')
    expect((await next.take('carl', 1, LONG_MS)).kind).toBe('full')
  })

  it('are unknown while Redis is away, at once, and counted anew once it is back', async () => {
    const slots = await aProcess(200)
    const held = await eventually(async () => {
      const answer = await slots.take('dora', 1_000_000, LONG_MS)
      return answer.kind === 'taken' ? answer : undefined
    })
    redis.kill()
    await eventually(async () => (await slots.take('dora', 1, LONG_MS)).kind === 'unknown')
    giveBack(held)
    await redis.restart()
    await eventually(async () => (await slots.take('erna', 1, LONG_MS)).kind !== 'unknown')
    const after = await aProcess()
    expect((await after.take('fritz', 1, LONG_MS)).kind).toBe('taken')
    expect((await after.take('fritz', 1, LONG_MS)).kind).toBe('full')
  })
})
