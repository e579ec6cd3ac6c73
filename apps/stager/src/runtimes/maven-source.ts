import { join } from 'node:path'
import { type Published, publishedVersions } from './choose-version.js'
import { digestOf, DownloadError, type Downloads } from './downloads.js'
import type { MavenSource } from './manifest.js'
import type { Archive, SourceClient } from './source-client.js'
import type { VersionLists } from './version-lists.js'

const ALGORITHMS = ['sha512', 'sha256', 'sha1'] as const

/** Archives from the repository that this machine's Maven is set up for, checked against the checksum beside them. */
export class MavenClient implements SourceClient<MavenSource> {
  constructor(
    private readonly lists: VersionLists,
    private readonly downloads: Downloads,
    /** Address of the repository that stands for Maven's central one; throws where none is known. */
    private readonly repository: () => Promise<string>,
  ) {}

  async versions(source: MavenSource): Promise<readonly Published[]> {
    const repository = await this.repository()
    const found = await this.lists.get('maven', `${source.group}:${source.artifact}`, async () => {
      const metadata = await this.downloads.text(`${repository}/${folderOf(source)}/maven-metadata.xml`)
      return [...metadata.matchAll(/<version>\s*([^<\s]+)\s*<\/version>/g)].map(([, version = '']) => version)
    })
    return publishedVersions(found)
  }

  async download(source: MavenSource, { name: version }: Published, folder: string): Promise<Archive> {
    const classifier = source.classifier === undefined ? '' : `-${source.classifier}`
    const file = `${source.artifact}-${version}${classifier}.${source.type}`
    const url = `${await this.repository()}/${folderOf(source)}/${version}/${file}`
    const path = join(folder, file)
    await this.downloads.file(url, path)
    for (const algorithm of ALGORITHMS) {
      const named = await this.downloads.text(`${url}.${algorithm}`).catch((error: unknown) => {
        if (error instanceof DownloadError && error.status !== undefined) return undefined
        throw error
      })
      if (named === undefined) continue
      const digest = await digestOf(path, algorithm, 'hex')
      if (named.trim().split(/\s+/)[0]?.toLowerCase() !== digest)
        throw new Error(`${file} does not have the checksum that its repository names`)
      return { path, format: source.type === 'zip' ? 'zip' : 'tar', checksum: `${algorithm}:${digest}` }
    }
    throw new Error(`its repository has no checksum of ${file}`)
  }
}

const folderOf = ({ group, artifact }: MavenSource): string => `${group.replaceAll('.', '/')}/${artifact}`
