import { setInterval } from 'node:timers'
import type { Logger } from '@bloomery/telemetry'
import type Docker from 'dockerode'
import { IdleGroup } from '../limits/idle-group.js'

const BALANCE_EVERY_MS = 2_000
/** One for all installations of a machine; systemd wants its own ending, and a name without dashes for one at the top. */
const NAME = 'bloomery_staging'

/**
 * The control group of containers of builds: what they use of the processors is what nobody else wants, however many they are, so that
 * apps beside them answer as before. Where the engine's groups are not ours to set (it is on another machine; this process sees none
 * or may not write; an older kernel), builds are among all other containers, with a small share.
 */
export class StagingGroup {
  #group: IdleGroup | undefined
  #parent: string | undefined
  #timer: NodeJS.Timeout | undefined
  #isTold = false

  constructor(
    private readonly logger: Logger,
    private readonly open = (path: string): IdleGroup => new IdleGroup(path),
  ) {}

  /** An engine's driver stays the same: once is enough, however often the engine is prepared. */
  async prepare(docker: Docker): Promise<void> {
    if (this.#parent !== undefined) return
    const { CgroupDriver: driver } = (await docker.info()) as { CgroupDriver?: string }
    const name = driver === 'systemd' ? `${NAME}.slice` : NAME
    const group = this.open(`/${name}`)
    const isReady = (driver === 'systemd' || driver === 'cgroupfs') && (await group.apply())
    this.#group = isReady ? group : undefined
    this.#parent = driver === 'systemd' ? name : `/${name}`
  }

  /** As the engine's CgroupParent; undefined for the engine's own custom. */
  async parent(): Promise<string | undefined> {
    if ((await this.#group?.apply()) === true) return this.#parent
    this.#tell('it cannot be made here')
    return undefined
  }

  /** After a build's container has been started. `isRunning` asks once more whether it still runs. */
  async started(containerId: string, isRunning: () => Promise<boolean>): Promise<void> {
    const group = this.#group
    if (group === undefined) return
    const isIn = async (): Promise<boolean> => (await group.members()).some((member) => member.includes(containerId))
    if (!(await isIn()) && (await isRunning()) && !(await isIn())) {
      this.#group = undefined
      this.#tell("the engine's groups are not those that are seen here")
      return
    }
    // systemd gives a slice an ordinary share when it starts the first of its members.
    await group.apply()
    this.#timer ??= setInterval(() => void this.#balance(group), BALANCE_EVERY_MS).unref()
  }

  close(): void {
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  /** Once: it stays so. */
  #tell(reason: string): void {
    if (this.#isTold) return
    this.#isTold = true
    this.logger.warn(
      { reason },
      'builds share the processors with apps by weight alone, for want of a control group of their own',
    )
  }

  async #balance(group: IdleGroup): Promise<void> {
    try {
      if ((await group.members()).length > 0) return await group.balance()
      this.close()
      await group.rest()
    } catch (error) {
      this.logger.warn({ err: error }, 'the processor share of builds could not be set')
    }
  }
}
