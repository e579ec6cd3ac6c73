/** A clock that is read often and set seldom: milliseconds, coarse, never going back. */
export interface Clock {
  readonly now: number
  /** Value of a Date field. */
  readonly date: string
}

/** Goes on by its own interval, on which deadlines are looked at. */
export class CoarseClock implements Clock {
  now = performance.now()
  date = new Date().toUTCString()
  readonly #timer: NodeJS.Timeout

  constructor(everyMs: number, onTick: () => void) {
    this.#timer = setInterval(() => {
      this.now = performance.now()
      this.date = new Date().toUTCString()
      onTick()
    }, everyMs)
    this.#timer.unref()
  }

  stop(): void {
    clearInterval(this.#timer)
  }
}
