import { existsSync } from 'node:fs'
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { mayRunInIdleTime } from './idle-time.js'

/** A quarter of what any other program has. */
const SHARES = '256'
const WEIGHT = '25'
/** The kernel counts a processor's time in hundredths here, whatever its own clock. */
const TICKS_PER_SECOND = 100

interface Reading {
  readonly at: number
  readonly used: number
  readonly spare: number
}

/**
 * A control group, version 1 or 2, whose programs give way at once to whatever else wants a processor (`cpu.idle`, Linux 5.15), but for
 * a reserve. Several processes may care for the same one.
 */
export class IdleGroup {
  readonly #cpu: string
  readonly #usage: () => Promise<number>
  readonly #shares: readonly [file: string, value: string]
  #isIdle = true
  #last: Reading | undefined

  /** `path` is the group's below the top of the hierarchy. `root` and `proc` are where the machine shows its control groups and processes. */
  constructor(
    path: string,
    root = '/sys/fs/cgroup',
    private readonly proc = '/proc',
  ) {
    if (existsSync(join(root, 'cgroup.controllers'))) {
      this.#cpu = join(root, path)
      this.#shares = ['cpu.weight', WEIGHT]
      this.#usage = async () => Number(/^usage_usec (\d+)$/m.exec(await read(join(root, path, 'cpu.stat')))?.[1] ?? 0) / 1e6
    } else {
      this.#cpu = join(root, 'cpu', path)
      this.#shares = ['cpu.shares', SHARES]
      this.#usage = async () => Number(await read(join(root, 'cpuacct', path, 'cpuacct.usage'))) / 1e9
    }
  }

  /** Makes it and has it give way. False where that cannot be done here: by an older kernel, or by a process that may not. */
  async apply(): Promise<boolean> {
    try {
      // It may be there, by another process of this moment. Nothing is made above it: what is missing there is no hierarchy of control groups.
      await mkdir(this.#cpu).catch(() => undefined)
      await this.#set(this.#isIdle)
      return true
    } catch {
      return false
    }
  }

  /** Names of the groups in it: what runs there has one each. */
  async members(): Promise<readonly string[]> {
    const entries = await readdir(this.#cpu, { withFileTypes: true }).catch(() => [])
    return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name)
  }

  /** To be called now and then while something runs in it: sees to its reserve. */
  async balance(): Promise<void> {
    const last = this.#last
    const now = await this.#read()
    this.#last = now
    if (last === undefined || now.at <= last.at) return
    const use = {
      seconds: (now.at - last.at) / 1000,
      processors: availableParallelism(),
      used: now.used - last.used,
      spare: now.spare - last.spare,
    }
    const isIdle = mayRunInIdleTime(this.#isIdle, use)
    // Also when nothing changes: systemd sets its slices anew when it reads its settings again.
    await this.#set(isIdle)
    this.#isIdle = isIdle
  }

  /** Nothing runs in it any more. */
  async rest(): Promise<void> {
    this.#last = undefined
    if (this.#isIdle) return
    this.#isIdle = true
    await this.#set(true)
  }

  async #set(isIdle: boolean): Promise<void> {
    const file = join(this.#cpu, 'cpu.idle')
    if (!existsSync(file)) throw new Error(`${file} is missing`)
    const wanted = isIdle ? '1' : '0'
    if ((await read(file)).trim() === wanted) return
    await writeFile(file, wanted)
    const [shares, value] = this.#shares
    if (!isIdle) await writeFile(join(this.#cpu, shares), value)
  }

  async #read(): Promise<Reading> {
    const [, , , , idle = '0', waiting = '0'] = (await read(join(this.proc, 'stat'))).split('\n', 1)[0]?.split(/ +/) ?? []
    return {
      at: performance.now(),
      used: await this.#usage(),
      spare: (Number(idle) + Number(waiting)) / TICKS_PER_SECOND,
    }
  }
}

const read = (file: string): Promise<string> => readFile(file, 'utf8').catch(() => '')
