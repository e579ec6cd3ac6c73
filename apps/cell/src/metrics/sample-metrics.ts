import type { ContainerEngine, ContainerUsage } from '@bloomery/containers'
import type { InstanceMetrics } from '@bloomery/contracts'
import { entitledCores } from '@bloomery/domain'
import type { Instance } from '../instances/instance.js'

const MIB = 1024 * 1024

interface Sample {
  readonly atMs: number
  readonly cpuNanoseconds: bigint
  readonly sentBytes: number
}

/** Turns what the engine counts into rates, one sample after another. */
export class MetricsSampler {
  private last = new Map<string, Sample>()

  constructor(
    private readonly engine: ContainerEngine,
    private readonly cell: { readonly memoryMb: number; readonly cores: number },
  ) {}

  /** One envelope for each instance with a container, and what it uses, for those who look after limits. */
  async sample(
    instances: readonly Instance[],
    timestamp: () => string,
  ): Promise<{ instance: Instance; usage: ContainerUsage; envelope: InstanceMetrics }[]> {
    const present = instances.filter(({ record }) => record.state === 'running' || record.state === 'starting')
    const usages = await this.engine.usage(present.map(({ guid }) => guid))
    const atMs = performance.now()
    const samples = new Map<string, Sample>()
    const taken = []
    for (const instance of present) {
      const usage = usages.get(instance.guid)
      if (usage === undefined) continue
      const now: Sample = { atMs, cpuNanoseconds: usage.cpuNanoseconds, sentBytes: instance.logs.sentBytes }
      samples.set(instance.guid, now)
      taken.push({ instance, usage, envelope: this.envelope(instance, usage, now, timestamp()) })
    }
    this.last = samples
    return taken
  }

  private envelope(instance: Instance, usage: ContainerUsage, now: Sample, timestamp: string): InstanceMetrics {
    const { spec, index, instanceGuid } = instance.record
    const before = this.last.get(instance.guid)
    const seconds = before === undefined ? 0 : (now.atMs - before.atMs) / 1000
    const rate = (difference: number) => (seconds > 0 ? Math.max(0, difference / seconds) : 0)
    const cpu = rate(Number(now.cpuNanoseconds - (before?.cpuNanoseconds ?? 0n)) / 1e9)
    return {
      kind: 'metrics',
      sourceId: spec.appGuid,
      processGuid: spec.processGuid,
      processType: spec.processType,
      instanceId: String(index),
      instanceGuid,
      timestamp,
      cpu,
      cpuEntitlement: cpu / entitledCores(spec.memoryMb, this.cell),
      memoryBytes: usage.memoryBytes,
      memoryQuotaBytes: spec.memoryMb * MIB,
      diskBytes: usage.diskBytes,
      diskQuotaBytes: spec.diskMb * MIB,
      logRateBytes: rate(now.sentBytes - (before?.sentBytes ?? 0)),
      logRateLimitBytes: spec.logRateLimit,
    }
  }
}
