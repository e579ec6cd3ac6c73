import { readFile, rename, writeFile } from 'node:fs/promises'
import { InstanceMetrics } from '@bloomery/contracts'
import type { Logger } from '@bloomery/telemetry'
import { z } from 'zod'

const MAX_INSTANCES = 50_000

/** The newest measurement of each process and index. In memory; a snapshot on disk carries it over restarts. */
export class LatestMetrics {
  private readonly sources = new Map<string, Map<string, InstanceMetrics>>()
  private count = 0
  private changed = false

  constructor(
    private readonly path: string,
    private readonly logger: Logger,
  ) {}

  /** A snapshot that is absent or damaged is no loss: instances are measured every few seconds. */
  async load(): Promise<void> {
    try {
      const all = z.array(InstanceMetrics).parse(JSON.parse(await readFile(this.path, 'utf8')))
      for (const metrics of all) this.note(metrics)
    } catch (error) {
      this.logger.info({ err: error, path: this.path }, 'no snapshot of metrics, beginning anew')
    }
    this.changed = false
  }

  note(metrics: InstanceMetrics): void {
    const instances = this.sources.get(metrics.sourceId) ?? new Map<string, InstanceMetrics>()
    const key = `${metrics.processGuid}/${metrics.instanceId}`
    const present = instances.get(key)
    if (present && nanoseconds(present) > nanoseconds(metrics)) return
    if (!present) {
      if (this.count >= MAX_INSTANCES) return
      this.count++
    }
    instances.set(key, metrics)
    this.sources.set(metrics.sourceId, instances)
    this.changed = true
  }

  of(sourceId: string): InstanceMetrics[] {
    return [...(this.sources.get(sourceId)?.values() ?? [])]
  }

  forget(sourceId: string): void {
    this.count -= this.sources.get(sourceId)?.size ?? 0
    this.sources.delete(sourceId)
    this.changed = true
  }

  /** Instances that nobody measures any more. */
  forgetOlderThan(timeMs: number): void {
    const limit = BigInt(timeMs) * 1_000_000n
    for (const [sourceId, instances] of this.sources) {
      for (const [key, metrics] of instances) {
        if (nanoseconds(metrics) >= limit) continue
        instances.delete(key)
        this.count--
        this.changed = true
      }
      if (instances.size === 0) this.sources.delete(sourceId)
    }
  }

  async save(): Promise<void> {
    if (!this.changed) return
    this.changed = false
    const all = [...this.sources.values()].flatMap((instances) => [...instances.values()])
    await writeFile(`${this.path}.new`, JSON.stringify(all), { mode: 0o600 })
    await rename(`${this.path}.new`, this.path)
  }
}

const nanoseconds = ({ timestamp }: InstanceMetrics): bigint => (/^\d{1,19}$/.test(timestamp) ? BigInt(timestamp) : 0n)
