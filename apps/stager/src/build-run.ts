import { setTimeout as delay } from 'node:timers/promises'
import type { Nudge } from '@bloomery/contracts'
import type { LogSender } from '@bloomery/feeds'
import type { ClaimedBuild } from './builds/build-record.js'
import { MAX_ATTEMPTS } from './builds/builds.js'
import type { CapacitySource } from './capacity.js'
import { stagingError, StagingFailure, toBuildFailure } from './staging/failure.js'
import { limitsOf } from './staging/limits.js'
import { isAway } from './staging/run-container.js'
import { containerName, type Outcome, stageBuild, type StagingParts } from './staging/stage-build.js'
import { StagingLog } from './staging/staging-log.js'

const RENEW_MS = 3_000
/** Clients do not read lines younger than two seconds; the end of a failed build's output must be older when the build turns FAILED. */
const SETTLE_MS = 2_200
const FLUSH_MS = 5_000
const DATABASE_PATIENCE_MS = 120_000

/** Why a staging is ended from outside. */
class Ended extends Error {
  override readonly name = 'Ended'
  constructor(readonly why: 'cancelled' | 'lost' | 'stopping') {
    super(`the staging was ended: ${why}`)
  }
}

export interface BuildRunParts extends StagingParts {
  readonly sender: LogSender
  readonly nudge: (nudge: Nudge) => void
  readonly capacity: Pick<CapacitySource, 'reserveMb'>
}

/** One try at a build by this stager: claimed by a fenced update, renewed while it goes on, brought to an end that is written down. */
export class BuildRun {
  readonly guid: string
  readonly spaceGuid: string
  readonly memoryMb: number
  readonly done: Promise<void>
  readonly #abort = new AbortController()
  #claimed: ClaimedBuild | undefined

  constructor(
    private readonly parts: BuildRunParts,
    build: { readonly guid: string; readonly spaceGuid: string; readonly memoryMb: number },
  ) {
    this.guid = build.guid
    this.spaceGuid = build.spaceGuid
    this.memoryMb = build.memoryMb
    this.done = this.#run()
  }

  /** Of its container, as soon as there may be one. */
  get container(): string | undefined {
    return this.#claimed && containerName(this.#claimed)
  }

  /** Somebody may have asked to cancel it. */
  lookAgain(): void {
    if (this.#claimed) void this.#renewOnce(this.#claimed)
  }

  /** Hands the build back, for another stager or the next start of this one. */
  stop(): void {
    this.#abort.abort(new Ended('stopping'))
  }

  async #run(): Promise<void> {
    const { builds, logger, sender } = this.parts
    try {
      this.#claimed = await builds.claim(this.guid)
    } catch (error) {
      logger.warn({ err: error, build: this.guid }, 'a build could not be claimed, the sweep will try again')
      return
    }
    const build = this.#claimed
    if (!build) return
    const log = new StagingLog(sender, build.appGuid)
    const timer = setInterval(() => void this.#renewOnce(build), RENEW_MS)
    try {
      await this.#stage(build, log, this.#abort.signal)
    } catch (error) {
      await this.#giveUp(build, log, error)
    } finally {
      clearInterval(timer)
    }
  }

  async #stage(build: ClaimedBuild, log: StagingLog, signal: AbortSignal): Promise<void> {
    const { capacity, logger } = this.parts
    if (build.cancelRequested) throw new Ended('cancelled')
    if (build.attempts > MAX_ATTEMPTS)
      throw stagingError(
        'stager-lost',
        `the stager was lost ${MAX_ATTEMPTS} times while it staged this app`,
        "Push again. If it stays so, the operator finds the reason in the stager's log.",
      )
    if (build.attempts > 1) log.say('The stager was interrupted; staging once more')
    const startedAt = Date.now()
    const limits = limitsOf(build, capacity.reserveMb)
    const { outcome, cleanUp } = await stageBuild(this.parts, build, limits, log, signal)
    try {
      await log.flush(FLUSH_MS)
      await this.#finish(build, outcome, signal)
      logger.info({ build: build.guid, app: build.appGuid, ms: Date.now() - startedAt, outcome: outcome.kind }, 'staged')
    } finally {
      await cleanUp().catch((error: unknown) => logger.warn({ err: error, build: build.guid }, 'a staging was not cleaned up'))
    }
    if (outcome.kind === 'staged') await this.#keepCache(build)
  }

  async #finish(build: ClaimedBuild, outcome: Outcome, signal: AbortSignal): Promise<void> {
    const { builds, blobstore, nudge } = this.parts
    const finished = await this.#patiently(() =>
      outcome.kind === 'reused' ? builds.finishWith(build, outcome.droplet) : builds.finish(build, outcome.droplet),
    )
    if (!finished) {
      // An earlier droplet may have expired meanwhile: handed back, the build is staged in the ordinary way.
      if (outcome.kind === 'reused') throw signal.aborted ? signal.reason : new Ended('stopping')
      await blobstore.delete(outcome.droplet.blobKey)
      throw signal.aborted ? signal.reason : new Ended('cancelled')
    }
    nudge({ topic: 'changed', kind: 'build', guid: build.guid })
    nudge({ topic: 'scheduler' })
  }

  async #keepCache(build: ClaimedBuild): Promise<void> {
    const { caches, logger } = this.parts
    try {
      await caches.bound(build.appGuid, build.stack, build.diskMb)
      await caches.share(build.appGuid, build.stack)
    } catch (error) {
      logger.warn({ err: error, app: build.appGuid }, 'the build cache was not shared')
    }
  }

  async #giveUp(build: ClaimedBuild, log: StagingLog, error: unknown): Promise<void> {
    const { builds, logger } = this.parts
    try {
      if (error instanceof Ended && error.why === 'lost') return
      if ((error instanceof Ended && error.why === 'stopping') || isAway(error)) {
        logger.info({ build: build.guid, err: error }, 'a build is handed back')
        if (isAway(error)) await delay(1_000, undefined, { signal: this.#abort.signal }).catch(() => undefined)
        return await builds.release(build)
      }
      await this.#fail(build, log, this.#failureFor(build, error))
    } catch (failure) {
      // The claim expires, and the build is taken up once more.
      logger.error({ err: failure, build: build.guid }, 'the end of a build could not be written')
    }
  }

  #failureFor(build: ClaimedBuild, error: unknown): StagingFailure {
    if (error instanceof StagingFailure) return error
    if (error instanceof Ended) return stagingError('cancelled', 'staging was cancelled', 'Push again when you want to.')
    this.parts.logger.error({ err: error, build: build.guid }, 'staging failed for a reason of the platform')
    return stagingError(
      'platform',
      'staging failed for a reason of the platform',
      "Push again. If it stays so, the operator finds the reason in the stager's log.",
    )
  }

  async #fail(build: ClaimedBuild, log: StagingLog, failure: StagingFailure): Promise<void> {
    const { builds, caches, nudge, logger } = this.parts
    if (failure.errorClass === 'StagingError' && !failure.sentence.endsWith(': staging failed')) log.say(failure.sentence, 'ERR')
    log.say(`What to do: ${failure.nextStep}`, 'ERR')
    log.say(`Failed to stage build: ${failure.sentence.replace(/^Staging error: /, '')}`, 'ERR', 'API')
    await log.flush(FLUSH_MS)
    await delay(Math.max(0, SETTLE_MS - log.quietMs))
    await this.#patiently(() => builds.fail(build, toBuildFailure(failure, log.lastLines)))
    nudge({ topic: 'changed', kind: 'build', guid: build.guid })
    logger.info({ build: build.guid, app: build.appGuid, failure: failure.message }, 'a build failed')
    await caches.bound(build.appGuid, build.stack, build.diskMb)
  }

  /** The database may be away for a while; a build that took minutes is not thrown away for that. */
  async #patiently<T>(write: () => Promise<T>): Promise<T> {
    const deadline = Date.now() + DATABASE_PATIENCE_MS
    for (;;) {
      try {
        return await write()
      } catch (error) {
        if (Date.now() > deadline || (this.#abort.signal.aborted && isStopping(this.#abort.signal.reason))) throw error
        await delay(1_000)
      }
    }
  }

  async #renewOnce(build: ClaimedBuild): Promise<void> {
    try {
      const state = await this.parts.builds.renew(build)
      if (state === 'lost') this.#abort.abort(new Ended('lost'))
      if (state === 'cancel-requested') this.#abort.abort(new Ended('cancelled'))
    } catch (error) {
      // Fencing keeps a build whole that someone else has taken meanwhile; there is no need to stop for this.
      this.parts.logger.warn({ err: error, build: build.guid }, 'a claim could not be renewed')
    }
  }
}

const isStopping = (reason: unknown): boolean => reason instanceof Ended && reason.why === 'stopping'
