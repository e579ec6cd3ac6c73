import type { Published } from './choose-version.js'

/** A runtime's archive, downloaded and found right. */
export interface Archive {
  readonly path: string
  readonly format: 'tar' | 'zip'
  /** As its source names it: `sha512-…` of npm, `h1:…` of Go, `sha256:…`. */
  readonly checksum: string
  /** Folder of the archive that is the runtime, where the source knows. */
  readonly root?: string
}

/** One kind of place that runtimes come from, reached as that ecosystem's own client is set up on this machine. */
export interface SourceClient<S> {
  /** Throws an Error with a reason for the user where the source is out of reach. */
  versions(source: S): Promise<readonly Published[]>
  /** Into `folder`, which is the caller's and empty. Throws where the checksum is not what the source names. */
  download(source: S, published: Published, folder: string): Promise<Archive>
}
