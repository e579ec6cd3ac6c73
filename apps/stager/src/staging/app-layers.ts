import { readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'

export const AppLayer = z.object({
  /** Its name in the droplet, e.g. ./app/node_modules. */
  name: z.string(),
  /** What its content depends on, as the buildpack says. */
  key: z.string(),
  /** Its folder among the cell's droplets. */
  layer: z.string(),
})
export type AppLayer = z.infer<typeof AppLayer>

/**
 * Which folders of an app's last droplet lie as layers on this machine, so that the next staging can take them as they are. Kept out of reach
 * of what runs in stagings.
 */
export async function readAppLayers(file: string, droplets: string | undefined): Promise<readonly AppLayer[]> {
  if (droplets === undefined) return []
  let known: readonly AppLayer[]
  try {
    known = z.array(AppLayer).parse(JSON.parse(await readFile(file, 'utf8')))
  } catch {
    return [] // there is none yet, or it is of no use: the staging installs anew
  }
  const now = new Date()
  const present = await Promise.all(
    known.map((each) =>
      stat(join(droplets, each.layer, each.name))
        // The cell leaves alone what was used lately.
        .then(() => utimes(join(droplets, each.layer), now, now))
        .then(
          () => [each],
          () => [],
        ),
    ),
  )
  return present.flat()
}

export async function writeAppLayers(file: string, layers: readonly AppLayer[]): Promise<void> {
  if (layers.length === 0) return await rm(file, { force: true })
  await writeFile(`${file}.new`, JSON.stringify(layers))
  await rename(`${file}.new`, file)
}
