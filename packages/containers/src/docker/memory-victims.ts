import { findMemoryVictim, type MemoryVictim, readKernelLog } from '../limits/memory-victim.js'

/** What the kernel's log says of containers that ended for want of memory. */
export class MemoryVictims {
  readonly #asked = new Map<string, { readonly id: string; readonly isAny: Promise<boolean> }>()

  async of(containerId: string): Promise<MemoryVictim | undefined> {
    return findMemoryVictim(await readKernelLog(), (path) => path.includes(containerId))
  }

  /** Whether the container had one; asked of the kernel once, since of those that ended nothing changes. */
  isAny(name: string, containerId: string): Promise<boolean> {
    const known = this.#asked.get(name)
    if (known?.id === containerId) return known.isAny
    const isAny = this.of(containerId).then((victim) => victim !== undefined)
    this.#asked.set(name, { id: containerId, isAny })
    return isAny
  }

  /** It starts once more, or is gone. */
  forget(name: string): void {
    this.#asked.delete(name)
  }
}
