import { randomUUID } from 'node:crypto'
import { createPool, type Pool, rows, seizeLease, sql } from '@bloomery/database/sql'
import { silentLogger } from '@bloomery/telemetry'
import { eventually, withPostgres } from '@bloomery/testing'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals'
import { addOperation } from '../state/operations.js'
import type { OperationRecord } from '../state/records.js'
import { inBrokerSchema, prepareSchema } from '../state/schema.js'
import { OperationLog } from './operation-log.js'
import { OperationRunner, type Performer } from './runner.js'

/** Something that is waited for until somebody opens it. */
function gate(): { readonly opened: Promise<void>; readonly open: () => void } {
  let open = (): void => undefined
  const opened = new Promise<void>((resolve) => (open = resolve))
  return { opened, open }
}

/** Does nothing, for as long as it is told to, and remembers how often. */
class CountingPerformer implements Performer {
  readonly begun: string[] = []
  readonly held = new Map<string, Promise<void>>()

  async perform({ id }: OperationRecord) {
    this.begun.push(id)
    await this.held.get(id)
    return () => Promise.resolve()
  }
  fail() {
    return Promise.resolve(() => Promise.resolve())
  }
}

describe('the work of the broker', () => {
  const state = withPostgres({ migrated: false })
  let pool: Pool
  beforeAll(async () => {
    pool = createPool(inBrokerSchema(state.url), { max: 4 })
    await prepareSchema(pool)
  })
  afterAll(() => pool?.end())

  let performer: CountingPerformer
  let stop: () => Promise<void>
  let runner: OperationRunner
  /** Set by a test: what was read is kept back until this is open. */
  let answersLate: { readonly read: () => void; readonly until: Promise<void> } | undefined
  /** What this process counts as running no more. */
  let ended: Set<string>
  beforeEach(async () => {
    performer = new CountingPerformer()
    answersLate = undefined
    const seen = new Set<string>()
    ended = seen
    const operations = new (class extends OperationLog {
      override ended(id: string): void {
        super.ended(id)
        seen.add(id)
      }
    })(pool)
    const query = async (text: string, values?: unknown[]) => {
      const found = await pool.query(text, values)
      const late = answersLate
      if (!late || !text.includes("state = 'in progress' ORDER BY seq")) return found
      answersLate = undefined
      late.read()
      await late.until
      return found
    }
    const slow = Object.assign(Object.create(pool) as Pool, { query })
    runner = new OperationRunner(slow, performer, operations, silentLogger)
    const lease = await seizeLease(pool, 'broker', randomUUID(), 60_000)
    const stopping = new AbortController()
    const leading = runner.lead(lease, stopping.signal)
    stop = async () => {
      stopping.abort()
      await leading
    }
  })
  afterEach(() => stop())

  const ask = (instanceGuid: string = randomUUID()) => addOperation(pool, { instanceGuid, kind: 'provision', request: {} })

  /** Begins one, and lets it end while another look has read it as open. */
  async function endDuringALook(follower: (first: OperationRecord) => Promise<OperationRecord>) {
    const first = await ask()
    const work = gate()
    performer.held.set(first.id, work.opened)
    runner.nudge()
    await eventually(() => performer.begun.length === 1)
    const [read, answer] = [gate(), gate()]
    answersLate = { read: read.open, until: answer.opened }
    const second = await follower(first)
    runner.nudge()
    await read.opened
    work.open()
    await eventually(() => ended.has(first.id))
    answer.open()
    await eventually(() => ended.has(second.id))
    return [first.id, second.id]
  }

  it('is not done again where it ended while the open operations were read', async () => {
    const both = await endDuringALook(() => ask())
    expect(performer.begun).toEqual(both)
  })

  it('of one instance is done in its order, also when the former ended while they were read', async () => {
    const both = await endDuringALook(({ instanceGuid }) => ask(instanceGuid))
    expect(performer.begun).toEqual(both)
    const states = await rows<{ state: string }>(pool, sql`SELECT DISTINCT state FROM operations`)
    expect(states).toEqual([{ state: 'succeeded' }])
  })
})
