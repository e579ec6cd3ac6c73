import { setTimeout as delay } from 'node:timers/promises'
import { type ContainerEngine, EngineError } from '@bloomery/containers'
import type { StagingEnd } from '@bloomery/domain'
import type { RunOptions } from './run-options.js'
import { watchUse } from './watch-use.js'

const OUTPUT_GRACE_MS = 10_000
const KILL_AGAIN_MS = 1_000

/** Runs a staging container to its end, with all its output in the log. Rejects with the signal's reason when told to stop. */
export async function runContainer(options: RunOptions): Promise<StagingEnd> {
  const { engine, spec, log, signal } = options
  const { name } = spec
  await engine.create(spec)
  signal.throwIfAborted()
  await engine.start(name)
  const over = new AbortController()
  const outputDone = new AbortController()
  let endedFor: StagingEnd['endedFor']
  const end = (reason: NonNullable<StagingEnd['endedFor']>): void => {
    endedFor ??= reason
    stop()
  }
  const stop = (): void => void killSurely(engine, name, over.signal)
  signal.addEventListener('abort', stop, { once: true })
  if (signal.aborted) stop()
  const timer = setTimeout(() => end('time'), options.timeoutMs)
  const watching = watchUse(options, end, over.signal)
  const following = log.follow(engine, name, outputDone.signal)
  try {
    const status = await waitFor(engine, name, signal)
    over.abort()
    await Promise.race([following, delay(OUTPUT_GRACE_MS)])
    signal.throwIfAborted()
    const { processesRefused } = await watching
    const memoryVictim = status.outOfMemory ? await engine.memoryVictim(name) : undefined
    // A build that fails after it was refused processes fails for want of them.
    if (endedFor === undefined && processesRefused && status.exitCode !== 0 && !status.outOfMemory) endedFor = 'processes'
    return {
      exitCode: status.exitCode,
      outOfMemory: status.outOfMemory,
      lines: log.lines,
      ...(endedFor && { endedFor }),
      ...(memoryVictim && { memoryVictim }),
    }
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', stop)
    over.abort()
    outputDone.abort()
    await Promise.allSettled([watching, following])
  }
}

/** A killed container ends by itself; only an engine that is away as well makes us leave without having seen it. */
async function waitFor(
  engine: ContainerEngine,
  name: string,
  signal: AbortSignal,
): Promise<Awaited<ReturnType<ContainerEngine['wait']>>> {
  const gone = new AbortController()
  const leave = (): void => void setTimeout(() => gone.abort(signal.reason), 5_000).unref()
  signal.addEventListener('abort', leave, { once: true })
  try {
    return await engine.wait(name, gone.signal)
  } finally {
    signal.removeEventListener('abort', leave)
  }
}

/** Removes what earlier tries of a build left on this engine. */
export async function removeContainers(
  engine: ContainerEngine,
  belongs: (labels: Readonly<Record<string, string>>) => boolean,
): Promise<void> {
  for (const { name, labels } of await engine.list('staging')) if (belongs(labels)) await engine.remove(name)
}

export const isAway = (error: unknown): boolean => error instanceof EngineError && error.kind === 'unavailable'

/** An engine that is away for a moment must not let a build outlive its end: asks again until the container is over. */
async function killSurely(engine: ContainerEngine, name: string, over: AbortSignal): Promise<void> {
  while (!over.aborted)
    try {
      await engine.kill(name, 'SIGKILL')
      return
    } catch {
      await delay(KILL_AGAIN_MS, undefined, { signal: over }).catch(() => undefined)
    }
}
