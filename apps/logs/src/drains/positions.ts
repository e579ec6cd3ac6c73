import { readFile, rename, writeFile } from 'node:fs/promises'
import { z } from 'zod'

const Positions = z.record(
  z.string(),
  z.object({ appGuid: z.string(), position: z.string().regex(/^-?\d{1,19}$/), lost: z.number().int() }),
)
/** How far a drain has come. */
export interface DrainPosition {
  readonly appGuid: string
  readonly position: bigint
  readonly lost: number
}

/** The drains' positions, by their ids, as they were kept; none where there is no file, or a damaged one. */
export async function readPositions(path: string): Promise<Map<string, DrainPosition>> {
  const kept = new Map<string, DrainPosition>()
  const text = await readFile(path, 'utf8').catch(() => '{}')
  let json: unknown = {}
  try {
    json = JSON.parse(text)
  } catch {
    // As if it were not there: the drains begin with what comes from now on.
  }
  const parsed = Positions.safeParse(json)
  for (const [id, { appGuid, position, lost }] of Object.entries(parsed.data ?? {}))
    kept.set(id, { appGuid, position: BigInt(position), lost })
  return kept
}

/** Writes them whole or not at all. */
export async function writePositions(path: string, positions: ReadonlyMap<string, DrainPosition>): Promise<void> {
  const entries = [...positions].map(([id, each]) => [id, { ...each, position: each.position.toString() }])
  await writeFile(`${path}.new`, JSON.stringify(Object.fromEntries(entries)), { mode: 0o600 })
  await rename(`${path}.new`, path)
}
