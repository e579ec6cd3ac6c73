/** Why the platform cannot start, in words for who started it: what, why, what to do. Printed without a stack. */
export class LaunchError extends Error {
  override readonly name = 'LaunchError'
}

/** The words for any failure; of what is not known, all there is. */
export function explain(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const { code, path } = error as NodeJS.ErrnoException
  if (code === 'ENOSPC') return `No space is left on the disk${path ? ` at ${path}` : ''}. Free some, then run npm start again.`
  if (code === 'EACCES' || code === 'EPERM')
    return `This user may not ${error.message.includes('mkdir') ? 'make' : 'use'} ${path ?? 'a file that Bloomery needs'}. Was the platform started as another user before? (${error.message})`
  if (code === 'EROFS')
    return `${path ?? 'A file that Bloomery needs'} lies on a read-only file system; set BLOOMERY_HOME to another folder.`
  return ['LaunchError', 'ConfigError', 'EmbeddedError', 'KeyringError', 'PkiError'].includes(error.name)
    ? error.message
    : (error.stack ?? error.message)
}
