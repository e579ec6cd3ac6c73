import { describe, expect, it } from '@jest/globals'
import { mayRunInIdleTime } from './idle-time.js'

const use = (used: number, spare: number) => ({ seconds: 2, processors: 2, used, spare })

describe('a group that runs when nothing else wants a processor', () => {
  it.each([
    ['has most of the machine', true, use(3.6, 0), true],
    ['wants little of a machine at rest', true, use(0, 3.9), true],
    ['waits for the network beside a busy app, with time to spare', true, use(0.01, 0.3), true],
    ['gets its reserve', true, use(0.2, 0), true],
    ['gets next to nothing of a machine that others want whole', true, use(0.01, 0), false],
    ['has its share of such a machine, and keeps it', false, use(0.7, 0.1), false],
    ['is alone again', false, use(3.9, 0), true],
    ['has ended its work', false, use(0, 3.9), true],
  ])('%s', (_, doesNow, used, expected) => {
    expect(mayRunInIdleTime(doesNow, used)).toBe(expected)
  })
})
