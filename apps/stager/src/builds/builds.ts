import { randomUUID } from 'node:crypto'
import { execute, type Pool, rows, sql, transaction } from '@bloomery/database/sql'
import { recordFailed, recordStaged } from './build-events.js'
import type { BuildFailure, BuildpackRecord, ClaimedBuild, EarlierDroplet, StagedDroplet } from './build-record.js'
import { insertComponents } from './droplet-components.js'

/** A claim is renewed every few seconds; after this without a renewal the build is anyone's. */
export const CLAIM_TTL_MS = 20_000
/** The first try, and one more after a stager was lost. */
export const MAX_ATTEMPTS = 2

/** A build as it stands in line. */
export interface QueuedBuild {
  readonly guid: string
  readonly appGuid: string
  readonly spaceGuid: string
  readonly memoryMb: number
  readonly createdAt: Date
  readonly cancelRequested: boolean
}

export type ClaimState = 'held' | 'cancel-requested' | 'lost'

/** Reads and guarded writes of builds. Zero rows from a guarded write mean that someone else has the build now: nothing is done then. */
export class Builds {
  constructor(
    readonly pool: Pool,
    /** `stager:<node>:<process>`, so that a restarted stager recognises what its predecessor left. */
    readonly holder: string,
  ) {}

  /** Builds that nobody works on, and those under way on any machine. */
  async queue(): Promise<{ readonly waiting: readonly QueuedBuild[]; readonly running: readonly QueuedBuild[] }> {
    const found = await rows<QueuedBuild & { readonly isClaimed: boolean }>(
      this.pool,
      sql`SELECT b.guid, b.app_guid AS "appGuid", a.space_guid AS "spaceGuid", b.staging_memory_mb AS "memoryMb", b.created_at AS "createdAt",
            b.cancel_requested AS "cancelRequested",
            coalesce(b.claim_expires_at >= clock_timestamp(), false) AS "isClaimed"
          FROM builds b JOIN apps a ON a.guid = b.app_guid
          WHERE b.state = 'STAGING' AND b.lifecycle_type = 'buildpack' ORDER BY b.created_at`,
    )
    return { waiting: found.filter(({ isClaimed }) => !isClaimed), running: found.filter(({ isClaimed }) => isClaimed) }
  }

  /** Whether it is still to be staged, and by nobody yet. */
  async isWaiting(guid: string): Promise<boolean> {
    const found = await rows(
      this.pool,
      sql`SELECT 1 FROM builds WHERE guid = ${guid} AND state = 'STAGING' AND lifecycle_type = 'buildpack'
            AND (claim_expires_at IS NULL OR claim_expires_at < clock_timestamp())`,
    )
    return found.length > 0
  }

  /** Why it has not begun yet, for whoever asks. */
  async noteWaiting(guid: string, reason: string): Promise<void> {
    await execute(
      this.pool,
      sql`UPDATE builds SET waits_for = ${reason} WHERE guid = ${guid} AND state = 'STAGING'
            AND (claim_expires_at IS NULL OR claim_expires_at < clock_timestamp())`,
    )
  }

  async claim(guid: string): Promise<ClaimedBuild | undefined> {
    const claimed = await execute(
      this.pool,
      sql`UPDATE builds SET claimed_by = ${this.holder}, claim_token = claim_token + 1, attempts = attempts + 1, waits_for = NULL,
            claim_expires_at = clock_timestamp() + ${CLAIM_TTL_MS} * interval '1 millisecond',
            started_at = coalesce(started_at, clock_timestamp()), updated_at = clock_timestamp()
          WHERE guid = ${guid} AND state = 'STAGING' AND lifecycle_type = 'buildpack'
            AND (claim_expires_at IS NULL OR claim_expires_at < clock_timestamp())`,
    )
    if (claimed === 0) return undefined
    const [found] = await rows<Omit<ClaimedBuild, 'logRateLimit'> & { logRateLimit: bigint }>(
      this.pool,
      sql`SELECT b.guid, b.app_guid AS "appGuid", a.name AS "appName", a.space_guid AS "spaceGuid", b.claim_token AS token, b.attempts,
            b.cancel_requested AS "cancelRequested", b.package_guid AS "packageGuid",
            p.state AS "packageState", p.blob_key AS "packageBlobKey", p.sha256 AS "packageSha256", p.size_bytes AS "packageBytes", b.droplet_guid AS "dropletGuid",
            EXISTS (SELECT 1 FROM builds e WHERE e.package_guid = b.package_guid AND e.guid <> b.guid) AS "isRestage",
            b.buildpacks, b.stack, b.staging_memory_mb AS "memoryMb", b.staging_disk_mb AS "diskMb", b.log_rate_limit AS "logRateLimit",
            b.environment_encrypted AS "environmentEncrypted", b.files_encrypted AS "filesEncrypted"
          FROM builds b JOIN apps a ON a.guid = b.app_guid LEFT JOIN packages p ON p.guid = b.package_guid
          WHERE b.guid = ${guid} AND b.claimed_by = ${this.holder}`,
    )
    return found && { ...found, logRateLimit: Number(found.logRateLimit) }
  }

  async renew(build: ClaimedBuild): Promise<ClaimState> {
    const [found] = await rows<{ cancelled: boolean }>(
      this.pool,
      sql`UPDATE builds SET claim_expires_at = clock_timestamp() + ${CLAIM_TTL_MS} * interval '1 millisecond'
          WHERE guid = ${build.guid} AND state = 'STAGING' AND claim_token = ${build.token}
          RETURNING cancel_requested AS cancelled`,
    )
    if (!found) return 'lost'
    return found.cancelled ? 'cancel-requested' : 'held'
  }

  /** Hands the build back, as if this try had not been: the stager is being stopped. */
  async release(build: ClaimedBuild): Promise<void> {
    await execute(
      this.pool,
      sql`UPDATE builds SET claim_expires_at = clock_timestamp(), attempts = greatest(attempts - 1, 0)
          WHERE guid = ${build.guid} AND state = 'STAGING' AND claim_token = ${build.token}`,
    )
  }

  /** At the start: what an earlier process of this node held is free at once, for that process is gone. */
  async releaseOfEarlierProcess(nodePrefix: string): Promise<void> {
    await execute(
      this.pool,
      sql`UPDATE builds SET claim_expires_at = clock_timestamp()
          WHERE state = 'STAGING' AND starts_with(claimed_by, ${nodePrefix}) AND claimed_by <> ${this.holder}
            AND claim_expires_at > clock_timestamp()`,
    )
  }

  async fail(build: ClaimedBuild, failure: BuildFailure): Promise<boolean> {
    const error = `${failure.class} - ${failure.sentence}`
    return transaction(this.pool, async (tx) => {
      const touched = await execute(
        tx,
        sql`UPDATE builds SET state = 'FAILED', error = ${error}, failure = ${JSON.stringify(failure)}::jsonb,
              finished_at = clock_timestamp(), updated_at = clock_timestamp(), claim_expires_at = NULL
            WHERE guid = ${build.guid} AND state = 'STAGING' AND claim_token = ${build.token}`,
      )
      if (touched === 0) return false
      if (build.dropletGuid !== null)
        await execute(
          tx,
          sql`UPDATE droplets SET state = 'FAILED', error = ${error}, updated_at = clock_timestamp() WHERE guid = ${build.dropletGuid}`,
        )
      await this.#record(tx, build, failure.sentence, failure)
      await recordFailed(tx, build, failure)
      return true
    })
  }

  async finish(build: ClaimedBuild, droplet: StagedDroplet): Promise<boolean> {
    return transaction(this.pool, async (tx) => {
      const touched = await execute(
        tx,
        sql`UPDATE builds SET state = 'STAGED', droplet_guid = ${droplet.guid}, finished_at = clock_timestamp(),
              updated_at = clock_timestamp(), claim_expires_at = NULL
            WHERE guid = ${build.guid} AND state = 'STAGING' AND claim_token = ${build.token} AND NOT cancel_requested`,
      )
      if (touched === 0) return false
      await execute(
        tx,
        sql`INSERT INTO droplets (guid, app_guid, package_guid, build_guid, state, lifecycle_type, stack, sha256, size_bytes, blob_key,
              process_types, buildpacks, bits_sha256, settings_sha256, inputs, updated_at)
            VALUES (${droplet.guid}, ${build.appGuid}, ${build.packageGuid}, ${build.guid}, 'STAGED', 'buildpack', ${build.stack},
              ${droplet.sha256}, ${droplet.sizeBytes}, ${droplet.blobKey}, ${JSON.stringify(droplet.processTypes)}::jsonb,
              ${JSON.stringify(droplet.buildpacks)}::jsonb, ${droplet.inputs.bits.content.replace('sha256:', '')},
              ${droplet.settingsSha256}, ${JSON.stringify(droplet.inputs)}::jsonb, clock_timestamp())
            ON CONFLICT (guid) DO UPDATE SET state = 'STAGED', stack = EXCLUDED.stack, sha256 = EXCLUDED.sha256,
              size_bytes = EXCLUDED.size_bytes, blob_key = EXCLUDED.blob_key, process_types = EXCLUDED.process_types,
              buildpacks = EXCLUDED.buildpacks, bits_sha256 = EXCLUDED.bits_sha256, settings_sha256 = EXCLUDED.settings_sha256,
              inputs = EXCLUDED.inputs, updated_at = EXCLUDED.updated_at`,
      )
      await insertComponents(tx, droplet.guid, droplet.components)
      await recordStaged(tx, build, droplet.guid)
      await this.#record(tx, build, 'staged', { sha256: droplet.sha256, buildpacks: droplet.buildpacks })
      return true
    })
  }

  /** Droplets of the app that the same settings have made, the newest first. */
  async earlierDroplets(build: ClaimedBuild, settingsSha256: string): Promise<EarlierDroplet[]> {
    return rows<EarlierDroplet>(
      this.pool,
      sql`SELECT guid, bits_sha256 AS "bitsSha256", blob_key AS "blobKey", sha256, created_at AS "createdAt",
            process_types <> '{}'::jsonb AS "hasProcessTypes"
          FROM droplets
          WHERE app_guid = ${build.appGuid} AND settings_sha256 = ${settingsSha256} AND state = 'STAGED' AND blob_key IS NOT NULL
            AND sha256 IS NOT NULL AND bits_sha256 IS NOT NULL
          ORDER BY created_at DESC LIMIT 20`,
    )
  }

  /** Ends the build with a droplet that is there already. False where the build is someone else's, cancelled, or the droplet has gone. */
  async finishWith(build: ClaimedBuild, droplet: EarlierDroplet): Promise<boolean> {
    return transaction(this.pool, async (tx) => {
      const kept = await execute(
        tx,
        sql`UPDATE droplets SET reused_at = clock_timestamp(), updated_at = clock_timestamp()
            WHERE guid = ${droplet.guid} AND state = 'STAGED' AND blob_key IS NOT NULL
              AND EXISTS (SELECT 1 FROM builds WHERE guid = ${build.guid} AND state = 'STAGING' AND claim_token = ${build.token}
                AND NOT cancel_requested FOR UPDATE)`,
      )
      if (kept === 0) return false
      await execute(
        tx,
        sql`UPDATE builds SET state = 'STAGED', droplet_guid = ${droplet.guid}, reused = true, finished_at = clock_timestamp(),
              updated_at = clock_timestamp(), claim_expires_at = NULL WHERE guid = ${build.guid}`,
      )
      await recordStaged(tx, build, droplet.guid, { reused: true })
      await this.#record(tx, build, 'reused', { droplet_guid: droplet.guid, sha256: droplet.sha256 })
      return true
    })
  }

  /** All that may apply to a stack, in the order in which they are asked. */
  async buildpacksFor(stack: string): Promise<BuildpackRecord[]> {
    return rows<BuildpackRecord>(
      this.pool,
      sql`SELECT guid, name, stack, enabled, state, filename, sha256, blob_key AS "blobKey", system FROM buildpacks
          WHERE lifecycle = 'buildpack' AND (stack IS NULL OR stack = ${stack}) ORDER BY position, created_at`,
    )
  }

  /** Whether the user has named a command for the app's web process. */
  async hasWebCommand(appGuid: string): Promise<boolean> {
    const found = await rows(
      this.pool,
      sql`SELECT 1 FROM processes WHERE app_guid = ${appGuid} AND type = 'web' AND command IS NOT NULL LIMIT 1`,
    )
    return found.length > 0
  }

  /** When an operator last had all build caches cleared. */
  async cacheClearedAt(): Promise<Date | undefined> {
    const [found] = await rows<{ at: Date }>(
      this.pool,
      sql`SELECT updated_at AS at FROM settings WHERE name = 'buildpack_cache_cleared'`,
    )
    return found?.at
  }

  async existingApps(guids: readonly string[]): Promise<ReadonlySet<string>> {
    const found = await rows<{ guid: string }>(this.pool, sql`SELECT guid FROM apps WHERE guid = ANY(${guids})`)
    return new Set(found.map(({ guid }) => guid))
  }

  async #record(tx: Parameters<typeof execute>[0], build: ClaimedBuild, summary: string, detail: unknown): Promise<void> {
    await execute(
      tx,
      sql`INSERT INTO decision_records (guid, kind, subject_type, subject_guid, app_guid, summary, detail)
          VALUES (${randomUUID()}, 'build', 'build', ${build.guid}, ${build.appGuid}, ${summary}, ${JSON.stringify(detail)}::jsonb)`,
    )
  }
}
