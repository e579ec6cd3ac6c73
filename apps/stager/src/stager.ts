import { randomUUID } from 'node:crypto'
import { mkdir, readdir, rm } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { acquireLease } from '@bloomery/database/sql'
import type { LogSender } from '@bloomery/feeds'
import type { Nudge } from '@bloomery/contracts'
import { type ClaimedBuild } from './builds/build-record.js'
import { MAX_ATTEMPTS } from './builds/builds.js'
import { stagingError, StagingFailure, toBuildFailure } from './staging/failure.js'
import { isAway, removeContainers } from './staging/run-container.js'
import { stageBuild, STAGER_LABEL, type StagingParts } from './staging/stage-build.js'
import { StagingLog } from './staging/staging-log.js'

const RENEW_MS = 3_000
const SWEEP_MS = 2_000
/** The queue is faster; the sweep takes what it has lost. */
const YOUNG_MS = 1_500
const TIDY_MS = 3_600_000
/** Clients do not read lines younger than two seconds; the end of a failed build's output must be older when the build turns FAILED. */
const SETTLE_MS = 2_200
const FLUSH_MS = 5_000
const DATABASE_PATIENCE_MS = 120_000
const LEASE_TTL_MS = 15_000

/** Why a staging is ended from outside. */
class Ended extends Error {
  override readonly name = 'Ended'
  constructor(readonly why: 'cancelled' | 'lost' | 'stopping') {
    super(`the staging was ended: ${why}`)
  }
}

export interface StagerParts extends StagingParts {
  readonly sender: LogSender
  readonly nudge: (nudge: Nudge) => void
  readonly concurrency: number
}

/** Takes builds from the queue and, where that has lost one, from their rows. Each is claimed by a fenced update and watched to its end. */
export class Stager {
  readonly #running = new Map<string, { done: Promise<void>; abort: AbortController }>()
  readonly #stop = new AbortController()
  readonly #waiters: (() => void)[] = []
  #loops: Promise<void>[] = []
  #wakeSweep: () => void = () => undefined
  #ready = false

  constructor(private readonly parts: StagerParts) {}

  start(): void {
    this.#loops = [this.#prepare(), this.#sweep(), this.#holdLease(), this.#tidy()]
  }

  /** Whether builds are taken: the engine answers, and what an earlier process left is gone. */
  get isReady(): boolean {
    return this.#ready
  }

  /** Resolves when the build needs nothing more of this stager: it is done, or someone else's. */
  async offer(buildGuid: string): Promise<void> {
    const present = this.#running.get(buildGuid)
    if (present) return present.done
    while (this.#running.size >= this.parts.concurrency && !this.#stop.signal.aborted)
      await new Promise<void>((resolve) => this.#waiters.push(resolve))
    const again = this.#running.get(buildGuid)
    if (again) return again.done
    if (this.#stop.signal.aborted || !this.#ready) return
    const abort = new AbortController()
    const done = this.#work(buildGuid, abort).finally(() => {
      this.#running.delete(buildGuid)
      for (const waiter of this.#waiters.splice(0)) waiter()
    })
    this.#running.set(buildGuid, { done, abort })
    return done
  }

  /** A build waits somewhere: look at the rows now. */
  lookAgain(): void {
    this.#wakeSweep()
  }

  /** Hands back what runs, and ends. The next stager takes it up. */
  async close(): Promise<void> {
    this.#stop.abort()
    this.#wakeSweep()
    for (const waiter of this.#waiters.splice(0)) waiter()
    for (const { abort } of this.#running.values()) abort.abort(new Ended('stopping'))
    await Promise.allSettled([...[...this.#running.values()].map(({ done }) => done), ...this.#loops])
    await this.parts.runtimes.settled()
  }

  async #work(guid: string, abort: AbortController): Promise<void> {
    const { builds, logger } = this.parts
    let build: ClaimedBuild | undefined
    try {
      build = await builds.claim(guid)
    } catch (error) {
      logger.warn({ err: error, build: guid }, 'a build could not be claimed, the sweep will try again')
      return
    }
    if (!build) return
    const log = new StagingLog(this.parts.sender, build.appGuid)
    const renewing = this.#renew(build, abort)
    try {
      await this.#stage(build, log, abort.signal)
    } catch (error) {
      await this.#giveUp(build, log, error)
    } finally {
      renewing.stop()
    }
  }

  async #stage(build: ClaimedBuild, log: StagingLog, signal: AbortSignal): Promise<void> {
    const { builds, caches, logger, nudge } = this.parts
    if (build.attempts > MAX_ATTEMPTS)
      throw stagingError(
        `the stager was lost ${MAX_ATTEMPTS} times while it staged this app`,
        "Push again. If it stays so, the operator finds the reason in the stager's log.",
      )
    if (build.attempts > 1) log.say('The stager was interrupted; staging once more')
    const startedAt = Date.now()
    const { droplet, cleanUp } = await stageBuild(this.parts, build, log, signal)
    try {
      await log.flush(FLUSH_MS)
      const finished = await this.#patiently(() => builds.finish(build, droplet))
      if (!finished) {
        await this.parts.blobstore.delete(droplet.blobKey)
        throw signal.aborted ? signal.reason : new Ended('cancelled')
      }
      nudge({ topic: 'changed', kind: 'build', guid: build.guid })
      nudge({ topic: 'scheduler' })
      logger.info({ build: build.guid, app: build.appGuid, ms: Date.now() - startedAt, bytes: droplet.sizeBytes }, 'staged')
    } finally {
      await cleanUp().catch((error: unknown) => logger.warn({ err: error, build: build.guid }, 'a staging was not cleaned up'))
    }
    await caches
      .share(build.appGuid, build.stack)
      .catch((error: unknown) => logger.warn({ err: error, app: build.appGuid }, 'the build cache was not shared'))
  }

  async #giveUp(build: ClaimedBuild, log: StagingLog, error: unknown): Promise<void> {
    const { builds, logger } = this.parts
    try {
      if (error instanceof Ended && error.why === 'lost') return
      if ((error instanceof Ended && error.why === 'stopping') || isAway(error)) {
        logger.info({ build: build.guid, err: error }, 'a build is handed back')
        if (isAway(error)) await delay(1_000, undefined, { signal: this.#stop.signal }).catch(() => undefined)
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
    if (error instanceof Ended) return stagingError('staging was cancelled', 'Push again when you want to.')
    this.parts.logger.error({ err: error, build: build.guid }, 'staging failed for a reason of the platform')
    return stagingError(
      'staging failed for a reason of the platform',
      "Push again. If it stays so, the operator finds the reason in the stager's log.",
    )
  }

  async #fail(build: ClaimedBuild, log: StagingLog, failure: StagingFailure): Promise<void> {
    const { builds, nudge, logger } = this.parts
    if (failure.errorClass === 'StagingError' && !failure.sentence.endsWith(': staging failed')) log.say(failure.sentence, 'ERR')
    log.say(`Failed to stage build: ${failure.sentence.replace(/^Staging error: /, '')}`, 'ERR', 'API')
    await log.flush(FLUSH_MS)
    await delay(Math.max(0, SETTLE_MS - log.quietMs))
    await this.#patiently(() => builds.fail(build, toBuildFailure(failure, log.lastLines)))
    nudge({ topic: 'changed', kind: 'build', guid: build.guid })
    logger.info({ build: build.guid, app: build.appGuid, failure: failure.message }, 'a build failed')
  }

  /** The database may be away for a while; a build that took minutes is not thrown away for that. */
  async #patiently<T>(write: () => Promise<T>): Promise<T> {
    const deadline = Date.now() + DATABASE_PATIENCE_MS
    for (;;) {
      try {
        return await write()
      } catch (error) {
        if (Date.now() > deadline || this.#stop.signal.aborted) throw error
        await delay(1_000)
      }
    }
  }

  #renew(build: ClaimedBuild, abort: AbortController): { stop: () => void } {
    const { builds, logger } = this.parts
    const timer = setInterval(() => {
      builds.renew(build).then(
        (state) => {
          if (state === 'lost') abort.abort(new Ended('lost'))
          if (state === 'cancel-requested') abort.abort(new Ended('cancelled'))
        },
        // Fencing keeps a build whole that someone else has taken meanwhile; there is no need to stop for this.
        (error: unknown) => logger.warn({ err: error, build: build.guid }, 'a claim could not be renewed'),
      )
    }, RENEW_MS)
    return { stop: () => clearInterval(timer) }
  }

  /** What an earlier process of this node left behind goes first; until the engine answers, no build is taken. */
  async #prepare(): Promise<void> {
    const { builds, engine, logger, nodeId, workFolder, runtimes, clientSettings } = this.parts
    // Asking the package managers takes a second, which the first build need not wait for.
    void clientSettings().catch((error: unknown) => logger.warn({ err: error }, 'client settings could not be read'))
    for (let pause = 200; !this.#stop.signal.aborted; pause = Math.min(pause * 2, 5_000)) {
      try {
        await engine.prepare()
        await mkdir(runtimes.folder, { recursive: true, mode: 0o755 })
        await removeContainers(engine, (labels) => labels[STAGER_LABEL] === nodeId)
        await mkdir(workFolder, { recursive: true, mode: 0o755 })
        for (const left of await readdir(workFolder))
          await rm(`${workFolder}/${left}`, { recursive: true, force: true }).catch((error: unknown) =>
            logger.warn({ err: error, left }, 'a folder of an earlier staging could not be removed'),
          )
        await builds.releaseOfEarlierProcess(`stager:${nodeId}:`)
        this.#ready = true
        this.#wakeSweep()
        return
      } catch (error) {
        logger.warn({ err: error }, 'the stager is not ready yet')
        await this.#pause(pause)
      }
    }
  }

  async #sweep(): Promise<void> {
    const { builds, concurrency, logger } = this.parts
    while (!this.#stop.signal.aborted) {
      const free = concurrency - this.#running.size
      if (this.#ready && free > 0)
        try {
          for (const guid of await builds.waiting(free, YOUNG_MS)) void this.offer(guid)
        } catch (error) {
          logger.debug({ err: error }, 'the database could not be asked for builds')
        }
      await Promise.race([this.#pause(SWEEP_MS), new Promise<void>((resolve) => (this.#wakeSweep = resolve))])
    }
  }

  /** Says that this stager is there; nothing is decided by it. */
  async #holdLease(): Promise<void> {
    const { builds, nodeId, logger } = this.parts
    while (!this.#stop.signal.aborted) {
      if (this.#ready)
        await acquireLease(builds.pool, `stager:${nodeId}`, builds.holder, LEASE_TTL_MS).catch((error: unknown) =>
          logger.debug({ err: error }, 'the lease was not renewed'),
        )
      await this.#pause(this.#ready ? LEASE_TTL_MS / 3 : 100)
    }
  }

  async #tidy(): Promise<void> {
    const { builds, buildpacks, runtimes, caches, logger } = this.parts
    while (!this.#stop.signal.aborted) {
      await this.#pause(TIDY_MS)
      if (this.#stop.signal.aborted) return
      const tidied = await Promise.allSettled([
        buildpacks.evict(),
        runtimes.evict(),
        caches.evict((guids) => builds.existingApps(guids)),
      ])
      for (const outcome of tidied) if (outcome.status === 'rejected') logger.warn({ err: outcome.reason }, 'tidying failed')
    }
  }

  #pause(ms: number): Promise<void> {
    return delay(ms, undefined, { signal: this.#stop.signal }).catch(() => undefined)
  }
}

/** A name for this process's claims. */
export const holderName = (nodeId: string): string => `stager:${nodeId}:${randomUUID()}`
