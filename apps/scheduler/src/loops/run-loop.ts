import type { Logger } from '@bloomery/telemetry'

export interface LoopOptions {
  readonly everyMs: number
  /** Hints that arrive within this span share a pass. */
  readonly debounceMs: number
  readonly signal: AbortSignal
  readonly log: Logger
}

export interface Loop {
  /** Look again soon. */
  nudge(): void
  /** Resolves after the signal is aborted and the running pass has ended. */
  readonly done: Promise<void>
}

/** Runs `pass` when nudged and at least every `everyMs`, never two at once. A pass that fails is logged and comes again. */
export function runLoop(pass: () => Promise<void>, { everyMs, debounceMs, signal, log }: LoopOptions): Loop {
  let wake: (() => void) | undefined
  let nudged = true
  const nap = (): Promise<void> =>
    new Promise((resolve) => {
      const timer = setTimeout(finish, nudged ? debounceMs : everyMs)
      let debouncing = nudged
      function finish(): void {
        clearTimeout(timer)
        wake = undefined
        resolve()
      }
      wake = () => {
        if (signal.aborted) return finish()
        if (debouncing) return
        debouncing = true
        setTimeout(finish, debounceMs)
      }
      if (signal.aborted) finish()
    })
  const onAbort = (): void => wake?.()
  signal.addEventListener('abort', onAbort)
  const run = async (): Promise<void> => {
    while (!signal.aborted) {
      nudged = false
      try {
        await pass()
      } catch (error) {
        if (!signal.aborted) log.error({ err: error }, 'pass failed, will be tried again')
      }
      await nap()
    }
    signal.removeEventListener('abort', onAbort)
  }
  return {
    nudge: () => {
      nudged = true
      wake?.()
    },
    done: run(),
  }
}
