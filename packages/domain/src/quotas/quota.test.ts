import fc from 'fast-check'
import { EMPTY_USAGE, processViolations, quotaViolations, usageOfProcesses, type QuotaLimits } from './quota.js'

const UNLIMITED: QuotaLimits = {
  totalMemoryMb: null,
  perProcessMemoryMb: null,
  totalInstances: null,
  logRateLimitBytes: null,
  totalRoutes: null,
  totalReservedPorts: null,
  totalServiceInstances: null,
  totalServiceKeys: null,
}
const usage = (memoryMb: number) => ({ ...EMPTY_USAGE, memoryMb })

describe('quotas', () => {
  it("name the limit in the reference's words", () => {
    const limits = { ...UNLIMITED, totalMemoryMb: 1024, totalInstances: 3 }
    const after = usageOfProcesses([{ instances: 4, memoryMb: 512, logRateLimit: -1n }])
    expect(quotaViolations('organization', limits, EMPTY_USAGE, after)).toEqual([
      { scope: 'organization', limit: 'totalMemoryMb', phrase: 'memory quota_exceeded', allowed: 1024n, needed: 2048n },
      {
        scope: 'organization',
        limit: 'totalInstances',
        phrase: 'app_instance_limit app_instance_limit_exceeded',
        allowed: 3n,
        needed: 4n,
      },
    ])
    expect(quotaViolations('space', limits, EMPTY_USAGE, after)[0]?.phrase).toBe('memory space_quota_exceeded')
  })

  it('let whoever is over a lowered limit shrink', () => {
    const limits = { ...UNLIMITED, totalMemoryMb: 100 }
    expect(quotaViolations('space', limits, usage(500), usage(400))).toEqual([])
    expect(quotaViolations('space', limits, usage(500), usage(501))).toHaveLength(1)
  })

  it('judge one process by itself', () => {
    const limits = { ...UNLIMITED, perProcessMemoryMb: 256, logRateLimitBytes: 1000n }
    expect(processViolations('organization', limits, { memoryMb: 512, logRateLimit: -1n }).map(({ limit }) => limit)).toEqual([
      'perProcessMemoryMb',
      'logRateLimitBytes',
    ])
    expect(processViolations('organization', limits, { memoryMb: 256, logRateLimit: 0n })).toEqual([])
  })

  it('never sum to less than nothing, and never refuse what stays within', () =>
    fc.assert(
      fc.property(
        fc.array(
          fc.record({ instances: fc.nat(50), memoryMb: fc.nat(4096), logRateLimit: fc.bigInt({ min: -1n, max: 10_000n }) }),
        ),
        (processes) => {
          const used = usageOfProcesses(processes)
          expect(used.memoryMb).toBeGreaterThanOrEqual(0)
          expect(used.logRateBytes >= 0n).toBe(true)
          const limits = {
            ...UNLIMITED,
            totalMemoryMb: used.memoryMb,
            totalInstances: used.instances,
            logRateLimitBytes: used.logRateBytes,
          }
          expect(quotaViolations('organization', limits, EMPTY_USAGE, used)).toEqual([])
        },
      ),
    ))
})
