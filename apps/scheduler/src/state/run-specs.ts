import { RunSpec, type DropletSource } from '@bloomery/contracts'
import { rows, sql, type Queryable } from '@bloomery/database/sql'
import type { Keyring } from '@bloomery/secrets'
import type { Logger } from '@bloomery/telemetry'
import { z } from 'zod'

const CACHED = 2_000
const Environment = z.record(z.string(), z.string())

interface StoredSpec {
  readonly guid: string
  readonly spec: unknown
  readonly environment: unknown
  readonly files: unknown
}

/** A frozen spec as a cell needs it. `environment` is undefined where it can't be decrypted: then nothing new can be started of it. */
export interface LoadedSpec {
  readonly spec: RunSpec
  readonly environment: Readonly<Record<string, string>> | undefined
  /** Files of bindings, where the app gets them so. */
  readonly files: Readonly<Record<string, string>> | undefined
}

/** Run specs by guid. They never change, so they are kept in memory once read. */
export class RunSpecs {
  readonly #cache = new Map<string, LoadedSpec>()
  constructor(readonly options: { readonly keyring: Keyring; readonly log: Logger }) {}

  async load(on: Queryable, guids: readonly string[]): Promise<ReadonlyMap<string, LoadedSpec>> {
    const missing = [...new Set(guids)].filter((guid) => !this.#cache.has(guid))
    if (missing.length > 0) {
      const found = await rows<StoredSpec>(
        on,
        sql`SELECT guid, spec, environment_encrypted AS environment, files_encrypted AS files FROM run_specs WHERE guid = ANY(${missing})`,
      )
      for (const row of found) this.#keep(row)
    }
    const loaded = new Map<string, LoadedSpec>()
    for (const guid of guids) {
      const spec = this.#cache.get(guid)
      if (spec) loaded.set(guid, spec)
    }
    while (this.#cache.size > CACHED) for (const oldest of this.#cache.keys()) if (this.#cache.delete(oldest)) break
    return loaded
  }

  #keep({ guid, spec, environment, files }: StoredSpec): void {
    const parsed = RunSpec.safeParse(spec)
    if (!parsed.success) {
      this.options.log.error({ specGuid: guid, fault: z.prettifyError(parsed.error) }, 'a run spec is malformed')
      return
    }
    const decrypted = this.#decrypt(guid, environment, `spec:${guid}`)
    const placed = files === null ? undefined : this.#decrypt(guid, files, `spec-files:${guid}`)
    // Without its files an app would start without its services: as bad as without its environment.
    const isWhole = files === null || placed !== undefined
    this.#cache.set(guid, { spec: parsed.data, environment: isWhole ? decrypted : undefined, files: placed })
  }

  #decrypt(guid: string, secret: unknown, place: string): Record<string, string> | undefined {
    try {
      return this.options.keyring.decryptJson(secret, place, Environment)
    } catch (error) {
      this.options.log.error({ err: error, specGuid: guid }, "a run spec's environment can't be decrypted")
      return undefined
    }
  }
}

/** What of a droplet a cell is told. */
export interface DropletRow {
  readonly source: DropletSource
  /** undefined: not in the blobstore (yet). */
  readonly blobKey: string | undefined
}

export async function listDroplets(on: Queryable, guids: readonly string[]): Promise<ReadonlyMap<string, DropletRow>> {
  const found = await rows<{ guid: string; sha256: string | null; sizeBytes: bigint | null; blobKey: string | null }>(
    on,
    sql`SELECT guid, sha256, size_bytes AS "sizeBytes", blob_key AS "blobKey" FROM droplets WHERE guid = ANY(${[...new Set(guids)]})`,
  )
  return new Map(
    found.map(({ guid, sha256, sizeBytes, blobKey }) => [
      guid,
      { source: { sha256: sha256 ?? '', sizeBytes: Number(sizeBytes ?? 0n) }, blobKey: blobKey ?? undefined },
    ]),
  )
}
