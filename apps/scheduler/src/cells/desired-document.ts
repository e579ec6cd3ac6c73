import { createHash } from 'node:crypto'
import { RunSpec, type CellDesired, type WantedInstance } from '@bloomery/contracts'
import { sql, type Queryable } from '@bloomery/database/sql'
import { listInstances } from '../state/read-state.js'
import type { InstanceRow } from '../state/rows.js'
import { listDroplets, type DropletRow, type LoadedSpec, type RunSpecs } from '../state/run-specs.js'
import { listReserved } from '../routes/withdrawals.js'

/** What a cell shall hold, without what has to be fetched or signed for it. Its revision is a digest of itself. */
export interface CellWish {
  readonly revision: string
  readonly instances: readonly InstanceRow[]
  readonly reserved: readonly { readonly address: string; readonly appGuid: string }[]
}

export async function readWish(on: Queryable, cellId: string): Promise<CellWish> {
  const held = await listInstances(
    on,
    sql`cell_id = ${cellId} AND instance_guid IS NOT NULL AND state IN ('claimed', 'running', 'stopping') ORDER BY instance_guid`,
  )
  const reserved = await listReserved(on, cellId)
  const digest = createHash('sha256')
    .update(JSON.stringify([held.map((row) => [row.instanceGuid, wantOf(row), row.specGuid]), reserved]))
    .digest()
  // 63 bits in decimal, because it is stored as a bigint.
  const revision = String(digest.readBigUInt64BE(0) >> 1n)
  return { revision, instances: held, reserved }
}

export const wantOf = (row: Pick<InstanceRow, 'state' | 'stopPhase'>): 'run' | 'stop' =>
  row.state === 'stopping' && row.stopPhase === 'term' ? 'stop' : 'run'

export interface DocumentDeps {
  readonly specs: RunSpecs
  /** An address from which the cell can read a droplet for a while. */
  readonly signedUrl: (blobKey: string) => Promise<string>
}

/** The whole document: specs, environments, and addresses of droplets that are made anew each time. */
export async function buildDocument(on: Queryable, wish: CellWish, leaseToken: bigint, deps: DocumentDeps): Promise<CellDesired> {
  const specs = await deps.specs.load(
    on,
    wish.instances.map(({ specGuid }) => specGuid),
  )
  const droplets = await listDroplets(
    on,
    [...specs.values()].map(({ spec }) => spec.dropletGuid),
  )
  const instances = await Promise.all(
    wish.instances.map(async (row) => {
      const loaded = specs.get(row.specGuid)
      return loaded ? wantedInstance(row, loaded, droplets.get(loaded.spec.dropletGuid), deps) : wantedWithoutSpec(row)
    }),
  )
  return {
    leaseToken: String(leaseToken),
    revision: wish.revision,
    instances,
    reservedAddresses: [...wish.reserved],
    // An agent that drains says so itself; told so here, it would still drain after its machine is back.
    draining: false,
  }
}

async function wantedInstance(
  row: InstanceRow,
  { spec, environment, files }: LoadedSpec,
  droplet: DropletRow | undefined,
  deps: DocumentDeps,
): Promise<WantedInstance> {
  const want = wantOf(row)
  const source = droplet?.source ?? { sha256: '', sizeBytes: 0 }
  const url = want === 'run' && droplet?.blobKey ? await deps.signedUrl(droplet.blobKey) : undefined
  return {
    instanceGuid: row.instanceGuid ?? '',
    index: row.index,
    want,
    ...(want === 'stop' && row.stopReason ? { stopReason: row.stopReason } : {}),
    spec,
    ...(want === 'run' && environment ? { environment: { ...environment } } : {}),
    ...(want === 'run' && files ? { files: { ...files } } : {}),
    droplet: { ...source, ...(url ? { url } : {}) },
  }
}

/** The app was deleted and its specs with it; what still runs of it is named by what the row knows, so that it stops in order. */
function wantedWithoutSpec(row: InstanceRow): WantedInstance {
  const spec = RunSpec.parse({
    guid: row.specGuid,
    version: row.specVersion,
    appGuid: row.appGuid,
    appName: '',
    spaceGuid: '',
    spaceName: '',
    organizationGuid: '',
    organizationName: '',
    processGuid: row.processGuid,
    processType: row.processType,
    stack: '',
    dropletGuid: '',
    command: null,
    memoryMb: row.memoryMb,
    diskMb: row.diskMb,
    logRateLimit: -1,
    cpuWeight: 1,
    healthCheck: { type: 'process' },
  })
  const stopReason = row.stopReason ?? undefined
  return {
    instanceGuid: row.instanceGuid ?? '',
    index: row.index,
    want: wantOf(row),
    ...(stopReason ? { stopReason } : {}),
    spec,
    droplet: { sha256: '', sizeBytes: 0 },
  }
}
