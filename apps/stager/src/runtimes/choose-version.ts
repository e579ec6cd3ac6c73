import semver from 'semver'

/** A wish that no version fulfils; the text is for the user. */
export class NoSuchVersion extends Error {
  override readonly name = 'NoSuchVersion'
}

/** The newest version in a range. `aliases`: what may be said instead of one, e.g. `lts/*`. */
export function chooseVersion(
  dependency: string,
  wanted: string,
  versions: readonly string[],
  aliases: Readonly<Record<string, string>> = {},
): string {
  const range = aliases[wanted.toLowerCase()] ?? wanted.replace(/^v(?=\d)/, '')
  if (semver.validRange(range) === null)
    throw new NoSuchVersion(`'${wanted}' is not a version range for ${dependency}; write for example 22.x or ^20.11.0`)
  const found = semver.maxSatisfying(versions, range)
  if (found === null)
    throw new NoSuchVersion(`no version of ${dependency} matches '${wanted}'. Available: ${newestPerLine(versions).join(', ')}`)
  return found
}

/** The newest of each major line, the newest line first. */
export function newestPerLine(versions: readonly string[]): string[] {
  const lines = new Map<number, string>()
  for (const version of semver.rsort(versions.filter((each) => semver.prerelease(each) === null)))
    if (!lines.has(semver.major(version))) lines.set(semver.major(version), version)
  return [...lines.values()]
}
