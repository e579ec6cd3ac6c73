import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { ContainerEngine } from '@bloomery/containers'
import type { MachineLeftover } from '@bloomery/contracts'
import type { Logger } from '@bloomery/telemetry'
import { BUILD_LABEL, STAGER_LABEL } from '../staging/labels.js'
import { folderBytes } from '../staging/workspace.js'
import type { Leftover } from './leftover.js'

export interface TidierParts {
  /** Whatever keeps things for later: buildpacks, runtimes, caches. */
  readonly stores: readonly (() => Promise<readonly Leftover[]>)[]
  readonly engine: Pick<ContainerEngine, 'list' | 'remove'>
  readonly workFolder: string
  readonly nodeId: string
  /** Whether this stager works at a build now. */
  readonly isUnderWay: (buildGuid: string) => boolean
  readonly logger: Logger
}

/** Finds and removes what the stager has left on its machine. Looks at nothing but its own folders and containers with its own label. */
export class Tidier {
  constructor(private readonly parts: TidierParts) {}

  /** A container counts as nothing, since its files lie in the folder of its staging. */
  async list(): Promise<readonly MachineLeftover[]> {
    const sized: MachineLeftover[] = []
    for (const { path, kind, reason, folder } of await this.#find())
      sized.push({ path, kind, reason, bytes: folder === undefined ? 0 : await folderBytes(folder) })
    return sized
  }

  async tidy(): Promise<void> {
    for (const { path, remove } of await this.#find())
      await remove().catch((error: unknown) => this.parts.logger.warn({ err: error, path }, 'a leftover could not be removed'))
  }

  async #find(): Promise<readonly Leftover[]> {
    const sources = [...this.parts.stores, () => this.#containers(), () => this.#folders()]
    const found = await Promise.allSettled(sources.map((source) => source()))
    return found.flatMap((outcome) => {
      if (outcome.status === 'fulfilled') return outcome.value
      this.parts.logger.warn({ err: outcome.reason }, 'looking for leftovers failed')
      return []
    })
  }

  async #containers(): Promise<readonly Leftover[]> {
    const { engine, nodeId, isUnderWay } = this.parts
    return (await engine.list('staging')).flatMap(({ name, labels }) => {
      const build = labels[BUILD_LABEL]
      // Those without a build clear up for it, and go by themselves.
      if (labels[STAGER_LABEL] !== nodeId || build === undefined || isUnderWay(build)) return []
      const remove = async (): Promise<void> => {
        if (!isUnderWay(build)) await engine.remove(name)
      }
      return [{ path: name, kind: 'container' as const, reason: 'of a build that this stager does not work at any more', remove }]
    })
  }

  async #folders(): Promise<readonly Leftover[]> {
    const { workFolder, isUnderWay } = this.parts
    const names = await readdir(workFolder).catch((): string[] => [])
    return names
      .filter((name) => !isUnderWay(buildOf(name)))
      .map((name) => ({
        path: `builds/${name}`,
        kind: 'staging',
        reason: 'of a build that this stager does not work at any more',
        folder: join(workFolder, name),
        remove: async () => {
          if (!isUnderWay(buildOf(name))) await rm(join(workFolder, name), { recursive: true, force: true })
        },
      }))
  }
}

/** A staging's folder is named by build and try. */
const buildOf = (name: string): string => name.slice(0, name.lastIndexOf('-'))
