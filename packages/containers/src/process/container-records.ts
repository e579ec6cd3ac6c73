import { readdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type ContainerSpec, type ContainerStatus, EngineError, type SeenContainer } from '../engine.js'
import { isAlive, type ProcessState, readState } from './process-state.js'

/** At which instances of this engine are reached: they share the machine's network. */
export const ADDRESS = '127.0.0.1'

/** A container as it lies on disk; its environment, which may hold credentials, is not part of it. */
export type KeptSpec = Omit<ContainerSpec, 'environment' | 'secretFiles'>

/** What the engine has written down of its containers, one folder each, and what their supervisors say of how they are. */
export class ContainerRecords {
  constructor(private readonly folder: string) {}

  /** Refuses what is no name: it becomes part of a path. */
  folderOf(name: string): string {
    if (!/^[a-zA-Z0-9][\w.-]*$/.test(name)) throw new EngineError('refused', `'${name}' is no name for a container`)
    return join(this.folder, name)
  }

  stateOf(name: string): ProcessState | undefined {
    return readState(this.folderOf(name))
  }

  /** Appears whole; from then on the container exists. */
  async keep(name: string, spec: KeptSpec): Promise<void> {
    const path = join(this.folderOf(name), 'container.json')
    await writeFile(`${path}.new`, JSON.stringify({ spec }))
    await rename(`${path}.new`, path)
  }

  async specOf(name: string): Promise<KeptSpec | undefined> {
    const text = await readFile(join(this.folderOf(name), 'container.json'), 'utf8').catch(() => undefined)
    return text === undefined ? undefined : (JSON.parse(text) as { readonly spec: KeptSpec }).spec
  }

  async find(name: string): Promise<SeenContainer | undefined> {
    const spec = await this.specOf(name)
    if (spec === undefined) return undefined
    return {
      name,
      purpose: spec.purpose,
      labels: spec.labels,
      status: statusOf(this.stateOf(name)),
      address: ADDRESS,
      publishedPorts: Object.fromEntries((spec.endpoint?.ports ?? []).map(({ internal, external }) => [internal, external])),
    }
  }

  async get(name: string): Promise<SeenContainer> {
    const seen = await this.find(name)
    if (seen === undefined) throw new EngineError('not-found', `There is no container ${name}`)
    return seen
  }

  /** Names of folders, those of containers that are only half made or half removed among them. */
  async names(): Promise<readonly string[]> {
    return readdir(this.folder).catch(() => [])
  }

  async all(): Promise<SeenContainer[]> {
    const seen = await Promise.all((await this.names()).map((name) => this.find(name)))
    return seen.filter((container) => container !== undefined)
  }
}

function statusOf(state: ProcessState | undefined): ContainerStatus {
  if (state === undefined) return { state: 'created' }
  if (state.exit !== undefined) return { state: 'exited', ...state.exit, finishedAt: new Date(state.exit.finishedAt) }
  if (isAlive(state)) return { state: 'running', startedAt: new Date(state.startedAt) }
  // Nobody is left to tell how it ended.
  return { state: 'exited', exitCode: 137, outOfMemory: false, finishedAt: new Date(), reason: 'its supervisor is gone' }
}
