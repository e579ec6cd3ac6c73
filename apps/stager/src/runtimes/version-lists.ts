import { mkdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'

const FRESH_MS = 12 * 3_600_000

/** Lists of published versions on disk: at most twelve hours old, or older while their source is out of reach. */
export class VersionLists {
  constructor(private readonly folder: string) {}

  async get(kind: string, name: string, ask: () => Promise<readonly string[]>): Promise<readonly string[]> {
    const file = join(this.folder, `${kind}-${encodeURIComponent(name)}.versions.json`)
    const kept = await readFile(file, 'utf8').then(
      async (text) => ({ versions: z.array(z.string()).parse(JSON.parse(text)), at: (await stat(file)).mtimeMs }),
      () => undefined,
    )
    if (kept && Date.now() - kept.at < FRESH_MS) return kept.versions
    try {
      const versions = await ask()
      await mkdir(this.folder, { recursive: true })
      await writeFile(file, JSON.stringify(versions))
      return versions
    } catch (error) {
      if (kept) return kept.versions
      throw error
    }
  }
}
