import { join } from 'node:path'
import { type Published, publishedVersions } from './choose-version.js'
import { digestOf, type Downloads } from './downloads.js'
import { forArchitecture, type UrlSource } from './manifest.js'
import type { Archive, SourceClient } from './source-client.js'

interface Release {
  readonly published: Published
  readonly uri: string
  readonly checksum: string
}

/** A vendor's own site: by versions with checksums in the manifest, or by the vendor's list of releases. */
export class UrlClient implements SourceClient<UrlSource> {
  constructor(
    private readonly downloads: Downloads,
    private readonly architecture: string,
  ) {}

  async versions(source: UrlSource): Promise<readonly Published[]> {
    return (await this.#releases(source)).map(({ published }) => published)
  }

  async download(source: UrlSource, { version }: Published, folder: string): Promise<Archive> {
    const release = (await this.#releases(source)).find(({ published }) => published.version === version)
    if (!release) throw new Error(`the vendor lists no ${version} for the architecture ${this.architecture}`)
    const path = join(folder, `archive.${source.type}`)
    await this.downloads.file(release.uri, path)
    const algorithm = release.checksum.length === 128 ? 'sha512' : 'sha256'
    if ((await digestOf(path, algorithm, 'hex')) !== release.checksum.toLowerCase())
      throw new Error(`${release.uri} does not have the checksum that was named for it`)
    return { path, format: source.type === 'zip' ? 'zip' : 'tar', checksum: `${algorithm}:${release.checksum.toLowerCase()}` }
  }

  async #releases(source: UrlSource): Promise<readonly Release[]> {
    const arch = source.arch[this.architecture] ?? this.architecture
    const { index } = source
    if (index === undefined)
      return publishedVersions(Object.keys(source.versions ?? {})).map((published) => ({
        published,
        uri: source.uri.replaceAll('{version}', published.name).replaceAll('{arch}', arch),
        checksum: forArchitecture(source.versions?.[published.name], this.architecture),
      }))
    const wanted = index.file.replaceAll('{arch}', arch)
    const listed: unknown = JSON.parse(await this.downloads.text(index.uri))
    return walk(listed, index.releases).flatMap((release) => {
      const [published] = publishedVersions([textOf(release, index.version)])
      const file = walk(release, index.files).find((each) => textOf(each, index.name) === wanted)
      if (!published || file === undefined) return []
      return [{ published, uri: textOf(file, index.address), checksum: textOf(file, index.checksum) }]
    })
  }
}

/** Everything at a path of field names, where `*` stands for all elements of a list. */
function walk(from: unknown, path: readonly string[]): unknown[] {
  const [name, ...rest] = path
  if (name === undefined) return [from]
  if (name === '*') return Array.isArray(from) ? from.flatMap((each) => walk(each, rest)) : []
  return typeof from === 'object' && from !== null && name in from ? walk((from as Record<string, unknown>)[name], rest) : []
}

const textOf = (from: unknown, name: string): string => {
  const found = walk(from, name.split('.'))[0]
  return typeof found === 'string' ? found : ''
}
