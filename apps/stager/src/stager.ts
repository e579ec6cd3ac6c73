import { randomUUID } from 'node:crypto'
import { mkdir, readdir, rm } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { acquireLease, areLeftoversAsked, replaceLeftovers, transaction } from '@bloomery/database/sql'
import type { LogSender } from '@bloomery/feeds'
import type { Nudge } from '@bloomery/contracts'
import { planStaging } from '@bloomery/domain'
import { BuildRun, type BuildRunParts } from './build-run.js'
import { type CapacitySource } from './capacity.js'
import { Tidier } from './leftovers/tidier.js'
import { STAGER_LABEL } from './staging/labels.js'
import { removeContainers } from './staging/run-container.js'
import type { StagingParts } from './staging/stage-build.js'
import { StagingLog } from './staging/staging-log.js'

const SWEEP_MS = 2_000
const TIDY_MS = 3_600_000
const ASKED_MS = 2_000
const LIST_MS = 60_000
const LEASE_TTL_MS = 15_000

export interface StagerParts extends StagingParts, BuildRunParts {
  readonly sender: LogSender
  readonly nudge: (nudge: Nudge) => void
  readonly capacity: CapacitySource
}

/**
 * Looks which builds wait, chooses whose turn it is, and takes each chosen one to its end. The queue and nudges only say when to look; a build that
 * nobody told of is found by its row.
 */
export class Stager {
  readonly #running = new Map<string, BuildRun>()
  readonly #stop = new AbortController()
  /** What waiting builds' users were told, so that they are told once. */
  readonly #told = new Map<string, string>()
  #looking: Promise<void> = Promise.resolve()
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
    while (!this.#stop.signal.aborted && this.#ready) {
      await this.#look()
      const run = this.#running.get(buildGuid)
      if (run) return await run.done
      if (!(await this.parts.builds.isWaiting(buildGuid))) return
      await Promise.race([this.#pause(SWEEP_MS), ...[...this.#running.values()].map(({ done }) => done)])
    }
  }

  /** A build waits somewhere, or one is to be cancelled: look at the rows now. */
  lookAgain(): void {
    this.#wakeSweep()
    for (const run of this.#running.values()) run.lookAgain()
  }

  /** Hands back what runs, and ends. The next stager takes it up. */
  async close(): Promise<void> {
    this.#stop.abort()
    this.#wakeSweep()
    for (const run of this.#running.values()) run.stop()
    await Promise.allSettled([...[...this.#running.values()].map(({ done }) => done), this.#looking, ...this.#loops])
    await this.parts.runtimes.settled()
  }

  /** One look at a time: two at once would both fill the same place. */
  #look(): Promise<void> {
    this.#looking = this.#looking
      .then(() => this.#fill())
      .catch((error: unknown) => this.parts.logger.debug({ err: error }, 'builds could not be looked for'))
    return this.#looking
  }

  async #fill(): Promise<void> {
    const { builds, capacity } = this.parts
    if (!this.#ready || this.#stop.signal.aborted) return
    const { waiting, running } = await builds.queue()
    const here = [...this.#running.values()]
    const used = await capacity.used(here.map(({ container }) => container).filter((name) => name !== undefined))
    const elsewhere = running.filter(({ guid }) => !this.#running.has(guid)).map((each) => ({ ...each, isHere: false }))
    const mine = here.map(({ guid, spaceGuid, memoryMb, container }) => {
      const usedMb = container === undefined ? undefined : used.get(container)
      return { guid, spaceGuid, memoryMb, isHere: true, ...(usedMb === undefined ? {} : { usedMb }) }
    })
    const wanted = waiting.filter(({ guid }) => !this.#running.has(guid))
    // What nobody wants any more needs no turn to be ended.
    for (const build of wanted) if (build.cancelRequested) this.#begin(build)
    const open = wanted.filter(({ cancelRequested }) => !cancelRequested)
    const plan = planStaging(open, [...mine, ...elsewhere], await capacity.now())
    for (const build of open) if (plan.start.includes(build.guid)) this.#begin(build)
    await this.#tell(open, plan.waits)
  }

  #begin(build: { readonly guid: string; readonly spaceGuid: string; readonly memoryMb: number }): void {
    if (this.#stop.signal.aborted) return
    const run = new BuildRun(this.parts, build)
    this.#running.set(build.guid, run)
    this.#told.delete(build.guid)
    void run.done.finally(() => {
      this.#running.delete(build.guid)
      this.#wakeSweep()
    })
  }

  /** In the rows for `explain`, in the app's log once. */
  async #tell(
    open: readonly { readonly guid: string; readonly appGuid: string }[],
    waits: ReadonlyMap<string, string>,
  ): Promise<void> {
    for (const guid of this.#told.keys()) if (!waits.has(guid)) this.#told.delete(guid)
    for (const [guid, reason] of waits) {
      if (this.#told.get(guid) === reason) continue
      const build = open.find((each) => each.guid === guid)
      if (build !== undefined && !this.#told.has(guid))
        new StagingLog(this.parts.sender, build.appGuid).say(`Waiting to be staged: ${reason}`)
      this.#told.set(guid, reason)
      await this.parts.builds.noteWaiting(guid, reason)
    }
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
    while (!this.#stop.signal.aborted) {
      const woken = new Promise<void>((resolve) => (this.#wakeSweep = resolve))
      await this.#look()
      await Promise.race([this.#pause(SWEEP_MS), woken])
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

  /** Hourly, and when an operator asks; what there is to tidy stands in the rows meanwhile. */
  async #tidy(): Promise<void> {
    const { builds, buildpacks, runtimes, caches, spaceLayers, engine, workFolder, nodeId, logger } = this.parts
    const tidier = new Tidier({
      stores: [
        () => buildpacks.leftovers(),
        () => runtimes.leftovers(),
        () => caches.leftovers((guids) => builds.existingApps(guids)),
      ],
      engine,
      workFolder,
      nodeId,
      isUnderWay: (guid) => this.#running.has(guid),
      logger,
    })
    let tidiedAt = Date.now()
    let listedAt = 0
    let told = ''
    while (!this.#stop.signal.aborted) {
      await this.#pause(ASKED_MS)
      if (this.#stop.signal.aborted || !this.#ready) continue
      try {
        const tidied = Date.now() - tidiedAt > TIDY_MS || (await areLeftoversAsked(builds.pool, nodeId))
        if (tidied) {
          tidiedAt = Date.now()
          await tidier.tidy()
          await spaceLayers.evict()
        }
        if (!tidied && Date.now() - listedAt < LIST_MS) continue
        const found = await tidier.list()
        if (tidied || told !== JSON.stringify(found))
          await transaction(builds.pool, (tx) => replaceLeftovers(tx, nodeId, found, { tidied }))
        told = JSON.stringify(found)
        listedAt = Date.now()
      } catch (error) {
        logger.warn({ err: error }, 'tidying failed')
      }
    }
  }

  #pause(ms: number): Promise<void> {
    return delay(ms, undefined, { signal: this.#stop.signal }).catch(() => undefined)
  }
}

/** A name for this process's claims. */
export const holderName = (nodeId: string): string => `stager:${nodeId}:${randomUUID()}`
