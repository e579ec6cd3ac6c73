import type { ContainerEngine } from '@bloomery/containers'
import type { MachineLeftover } from '@bloomery/contracts'
import type { Logger } from '@bloomery/telemetry'
import type { DropletCache, Leftover } from '../droplets/droplet-cache.js'

/** What has not changed is told anew after as long: the platform takes older news for that of a machine that is gone. */
const TOLD_MS = 3_000_000

export interface CellTidierParts {
  readonly droplets: Pick<DropletCache, 'leftovers'>
  readonly engine: Pick<ContainerEngine, 'unusedImages' | 'removeUnusedImage'>
  /** Knows what was deleted, and keeps for operators what there is. */
  readonly scheduler: {
    deletedDroplets(sha256s: readonly string[]): Promise<ReadonlySet<string>>
    tellLeftovers(leftovers: readonly MachineLeftover[], tidied: boolean): Promise<void>
  }
  readonly log: Logger
}

/** Finds, tells and removes what a cell keeps without need: droplets and layers in its own folder, and images with Bloomery's label. */
export class CellTidier {
  private working: Promise<void> = Promise.resolve()
  private tidying: Promise<void> | undefined
  private told = ''
  private toldAt = 0

  constructor(private readonly parts: CellTidierParts) {}

  /** Removes nothing. */
  tell(): Promise<void> {
    return this.oneAfterAnother(async () => this.say(await this.find(), false))
  }

  /** Removes what is without need now, and tells what has stayed. Asked for again meanwhile, it is done once. */
  tidy(): Promise<void> {
    this.tidying ??= this.oneAfterAnother(async () => {
      for (const { path, bytes, remove } of await this.find())
        await remove().then(
          () => this.parts.log.info({ path, bytes }, 'removed what nothing needs'),
          (error: unknown) => this.parts.log.warn({ err: error, path }, 'a leftover could not be removed'),
        )
      await this.say(await this.find(), true)
    }).finally(() => (this.tidying = undefined))
    return this.tidying
  }

  private oneAfterAnother(work: () => Promise<void>): Promise<void> {
    const next = this.working.then(work)
    this.working = next.catch(() => undefined)
    return next
  }

  private async find(): Promise<readonly Leftover[]> {
    const { droplets, scheduler, log } = this.parts
    const found = await Promise.allSettled([droplets.leftovers((sha256s) => scheduler.deletedDroplets(sha256s)), this.images()])
    return found.flatMap((outcome) => {
      if (outcome.status === 'fulfilled') return outcome.value
      log.warn({ err: outcome.reason as unknown }, 'looking for leftovers failed')
      return []
    })
  }

  private async images(): Promise<readonly Leftover[]> {
    const { engine } = this.parts
    return (await engine.unusedImages()).map(({ id, bytes }) => ({
      path: id,
      kind: 'image',
      reason: 'image of a stack that a newer one has replaced; no container is made of it',
      bytes,
      remove: () => engine.removeUnusedImage(id),
    }))
  }

  private async say(found: readonly Leftover[], tidied: boolean): Promise<void> {
    const leftovers = found.map(({ path, kind, reason, bytes }) => ({ path, kind, reason, bytes }))
    const text = JSON.stringify(leftovers)
    if (!tidied && text === this.told && Date.now() - this.toldAt < TOLD_MS) return
    await this.parts.scheduler.tellLeftovers(leftovers, tidied)
    this.told = text
    this.toldAt = Date.now()
  }
}
