/** The time that all of the scheduler's decisions use. */
export interface Clock {
  now(): Date
  /** Tells it what the database's clock shows. */
  sync(databaseNow: Date): void
}

/** The database's time, carried on by this machine's monotonic clock: a jump of the local clock expires nothing. */
export class DatabaseClock implements Clock {
  #offsetMs = Date.now() - performance.now()

  now(): Date {
    return new Date(performance.now() + this.#offsetMs)
  }

  sync(databaseNow: Date): void {
    this.#offsetMs = databaseNow.getTime() - performance.now()
  }
}
