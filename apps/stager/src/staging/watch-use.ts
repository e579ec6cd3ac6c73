import { setTimeout as delay } from 'node:timers/promises'
import { isMachineFull, untilNextLookMs } from '@bloomery/domain'
import type { RunOptions } from './run-options.js'
import { folderBytes } from './workspace.js'

const WATCH_MS = 250
/** Looking at every file costs time; between two looks the file system's own figure must have moved. */
const LOOK_EVERY_MS = 5_000
const PROCESSES_EVERY_MS = 1_000
/** So many looks in a row at which processes were refused are a script that never stops asking. */
const REFUSED_LOOKS = 5

/** Ends a staging that writes or starts more than it may. Resolves when `over` says that it has ended. */
export async function watchUse(
  options: Pick<RunOptions, 'engine' | 'spec' | 'workspace' | 'written' | 'limits'>,
  end: (reason: 'disk' | 'machine-disk' | 'processes') => void,
  over: AbortSignal,
): Promise<{ readonly processesRefused: boolean }> {
  const [, , processesRefused] = await Promise.all([
    watchMachine(options, end, over),
    watchOwn(options, end, over),
    watchProcesses(options, end, over),
  ])
  return { processesRefused }
}

/**
 * What is left to everybody: asked of the file system, which answers at once, and the more often the less is left. Apart from the sum of the
 * build's own files, which takes long just when there are many.
 */
async function watchMachine(
  { workspace }: Pick<RunOptions, 'workspace'>,
  end: (reason: 'machine-disk') => void,
  over: AbortSignal,
): Promise<void> {
  while (!over.aborted) {
    const disk = await workspace.disk().catch(() => undefined)
    if (disk !== undefined && isMachineFull(disk)) return end('machine-disk')
    await delay(disk === undefined ? WATCH_MS : untilNextLookMs(disk), undefined, { signal: over }).catch(() => undefined)
  }
}

async function watchOwn(
  { engine, spec, workspace, written, limits }: Parameters<typeof watchUse>[0],
  end: (reason: 'disk') => void,
  over: AbortSignal,
): Promise<void> {
  const limit = limits.diskMb * 1024 ** 2
  const freeNow = async (): Promise<number> => (await workspace.disk()).freeBytes
  let freeBefore = await freeNow()
  let used = 0
  let lookedAt = Date.now()
  while (!over.aborted) {
    await delay(WATCH_MS, undefined, { signal: over }).catch(() => undefined)
    if (over.aborted) return
    const free = await freeNow().catch(() => freeBefore)
    // Others write too; what is gone since the last look can at most have been this build.
    if (freeBefore - free < (limit - used) / 2 && Date.now() - lookedAt < LOOK_EVERY_MS) continue
    freeBefore = free
    const own = async (): Promise<number> => (await engine.usage([spec.name])).get(spec.name)?.diskBytes ?? 0
    const parts = await Promise.all([own().catch(() => 0), ...written.map((path) => folderBytes(path).catch(() => 0))])
    used = parts.reduce((sum, bytes) => sum + bytes, 0)
    lookedAt = Date.now()
    if (used > limit) return end('disk')
  }
}

async function watchProcesses(
  { engine, spec }: Parameters<typeof watchUse>[0],
  end: (reason: 'processes') => void,
  over: AbortSignal,
): Promise<boolean> {
  let refused = 0
  let looks = 0
  while (!over.aborted) {
    await delay(PROCESSES_EVERY_MS, undefined, { signal: over }).catch(() => undefined)
    const now = await engine.refusedProcesses(spec.name).catch(() => undefined)
    if (now === undefined) continue
    looks = now > refused ? looks + 1 : 0
    refused = now
    if (looks >= REFUSED_LOOKS) {
      end('processes')
      return true
    }
  }
  return refused > 0
}
