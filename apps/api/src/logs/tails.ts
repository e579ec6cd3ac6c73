/** The `cf` client shows a line only once it is 2 s old, and asks four times a second. */
const SHOWN_AFTER_MS = 2_600
const FORGOTTEN_AFTER_MS = 2_000

/**
 * Who follows an app's log as the `cf` client does. It stops following the moment that a build is settled and so would never show
 * the build's last two seconds, which for a failed build hold the reason. Known to this process alone: elsewhere nothing is held up.
 */
export class Tails {
  readonly #lastRead = new Map<string, number>()

  constructor(readonly now: () => number) {}

  /** A follower that hides young lines has begun or ended a read. */
  noteRead(source: string): void {
    const now = this.now()
    for (const [each, at] of this.#lastRead) if (now - at > FORGOTTEN_AFTER_MS) this.#lastRead.delete(each)
    this.#lastRead.set(source, now)
  }

  /** Milliseconds until a follower of `source` has shown what was written by `endedAt` (ms since the epoch); 0 where nobody follows. */
  millisecondsUntilShown(source: string, endedAt: number): number {
    const lastRead = this.#lastRead.get(source)
    if (lastRead === undefined || this.now() - lastRead > FORGOTTEN_AFTER_MS) return 0
    return Math.min(Math.max(endedAt + SHOWN_AFTER_MS - this.now(), 0), SHOWN_AFTER_MS)
  }
}
