import fc from 'fast-check'
import { cpuWeight } from './cpu-weight.js'
import { CRASH_POLICY, crashBackoffMs, crashOutcome, isRestartDue, nextCrashCount } from './crash-policy.js'
import { allowsTransition, type InstanceState } from './instance.js'

const now = new Date('2026-01-01T00:00:00Z')
const ago = (ms: number): Date => new Date(now.getTime() - ms)

describe('the crash policy', () => {
  it.each([
    [1, 'restart', 0],
    [2, 'restart', 0],
    [3, 'wait', 30_000],
    [4, 'wait', 60_000],
    [7, 'wait', 480_000],
    [8, 'wait', 960_000],
    [199, 'wait', 960_000],
    [200, 'give-up', 960_000],
  ])('after crash %i: %s, %i ms', (count, outcome, backoffMs) => {
    expect(crashOutcome(count)).toBe(outcome)
    expect(crashBackoffMs(count)).toBe(backoffMs)
  })

  it.each([
    ['a short run adds to the count', 4, true, 60_000, 5],
    ['exactly five minutes are not enough', 4, true, 300_000, 5],
    ['more than five minutes start over', 4, true, 300_001, 1],
    ['a start that takes long is no run', 4, false, 600_000, 5],
  ])('%s', (_name, crashCount, wasRunning, ms, expected) => {
    expect(nextCrashCount({ crashCount, wasRunning, stateSince: ago(ms), now })).toBe(expected)
  })

  it('restarts when the pause is over and never after giving up', () => {
    expect(isRestartDue({ crashCount: 3, crashedAt: ago(29_999), now })).toBe(false)
    expect(isRestartDue({ crashCount: 3, crashedAt: ago(30_000), now })).toBe(true)
    expect(isRestartDue({ crashCount: 200, crashedAt: ago(1e12), now })).toBe(false)
  })

  it('never pauses for longer than sixteen minutes, nor less than before', () =>
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 500 }), (count) => {
        expect(crashBackoffMs(count)).toBeLessThanOrEqual(CRASH_POLICY.maxBackoffMs)
        expect(crashBackoffMs(count + 1)).toBeGreaterThanOrEqual(crashBackoffMs(count))
      }),
    ))
})

describe('the share of the processor', () => {
  it.each([
    [16, 1],
    [128, 1],
    [1024, 12],
    [4096, 50],
    [8192, 100],
    [65_536, 100],
  ])('of %i MB is %i', (memoryMb, weight) => expect(cpuWeight(memoryMb)).toBe(weight))
})

describe('transitions', () => {
  const states: InstanceState[] = ['unclaimed', 'claimed', 'running', 'crashed', 'stopping']
  it.each<[InstanceState, InstanceState[]]>([
    ['unclaimed', ['claimed', 'running', 'stopping']],
    ['claimed', ['unclaimed', 'running', 'crashed', 'stopping']],
    ['running', ['unclaimed', 'claimed', 'crashed', 'stopping']],
    ['crashed', ['unclaimed', 'running', 'stopping']],
    ['stopping', ['unclaimed']],
  ])('from %s', (from, allowed) => {
    expect(states.filter((to) => allowsTransition(from, to)).sort()).toEqual([...allowed].sort())
  })
})
