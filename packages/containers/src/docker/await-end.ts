import { type ContainerStatus, EngineError, type SeenContainer } from '../engine.js'
import type { EventWatch } from './event-watch.js'

/** How long the end of a container could stay unnoticed if an event were lost. */
const LOOK_AGAIN_MS = 30_000

/**
 * Resolves when the container has ended, also over restarts of the engine: by its events and a look now and then. Docker's own call for
 * this leaves the caller waiting for ever when the connection breaks after the first byte of the answer. Rejects with 'not-found' where
 * there is none, or with the signal's reason.
 */
export async function awaitEnd(
  name: string,
  {
    events,
    find,
  }: { readonly events: Pick<EventWatch, 'add'>; readonly find: (name: string) => Promise<SeenContainer | undefined> },
  signal?: AbortSignal,
): Promise<Extract<ContainerStatus, { state: 'exited' }>> {
  let wake: (() => void) | undefined
  let missed = false
  const hear = (): void => {
    missed = true
    wake?.()
  }
  const stopListening = events.add((ended) => {
    if (ended === undefined || ended === name) hear()
  })
  signal?.addEventListener('abort', hear)
  try {
    for (;;) {
      signal?.throwIfAborted()
      missed = false
      const seen = await find(name).catch((error: unknown) => {
        if (error instanceof EngineError && error.kind === 'unavailable') return 'unknown' as const
        throw error
      })
      if (seen === undefined) throw new EngineError('not-found', `There is no container ${name}`)
      if (seen !== 'unknown' && seen.status.state === 'exited') return seen.status
      if (missed) continue
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, LOOK_AGAIN_MS)
        wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
  } finally {
    stopListening()
    signal?.removeEventListener('abort', hear)
  }
}
