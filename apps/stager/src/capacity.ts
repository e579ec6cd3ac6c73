import { readFile } from 'node:fs/promises'
import { freemem } from 'node:os'
import type { ContainerEngine } from '@bloomery/containers'
import type { StagingCapacity } from '@bloomery/domain'

const MIB = 1024 ** 2

/** What this machine has for staging, asked anew for each decision. */
export interface CapacitySource {
  now(): Promise<StagingCapacity>
  /** Megabytes that containers use. */
  used(containers: readonly string[]): Promise<ReadonlyMap<string, number>>
  readonly reserveMb: number
}

export class MachineCapacity implements CapacitySource {
  constructor(
    private readonly engine: Pick<ContainerEngine, 'usage'>,
    private readonly builds: number,
    readonly reserveMb: number,
  ) {}

  async now(): Promise<StagingCapacity> {
    return { builds: this.builds, availableMb: await availableMb(), reserveMb: this.reserveMb }
  }

  async used(containers: readonly string[]): Promise<ReadonlyMap<string, number>> {
    if (containers.length === 0) return new Map()
    const usage = await this.engine.usage(containers).catch(() => new Map<string, { readonly memoryBytes: number }>())
    return new Map([...usage].map(([name, { memoryBytes }]) => [name, memoryBytes / MIB]))
  }
}

/** What programs could have without others being pushed out; caches of files count as free. */
async function availableMb(): Promise<number> {
  const text = await readFile('/proc/meminfo', 'utf8').catch(() => '')
  const kilobytes = /^MemAvailable:\s+(\d+) kB$/m.exec(text)?.[1]
  return kilobytes === undefined ? freemem() / MIB : Number(kilobytes) / 1024
}
