/** Why an archive is refused. `too-large` covers every limit: entries, bytes, ratio. */
export type ArchiveErrorKind = 'malformed' | 'unsafe' | 'too-large'

/** An archive that must not be used; the message names the entry and what is wrong with it. */
export class ArchiveError extends Error {
  override readonly name = 'ArchiveError'
  constructor(
    readonly kind: ArchiveErrorKind,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options)
  }
}
