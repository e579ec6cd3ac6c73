import semver from 'semver'

/** A wish that no version fulfils; the text is for the user. */
export class NoSuchVersion extends Error {
  override readonly name = 'NoSuchVersion'
}

/** A version as semver has it, and as its source calls it. */
export interface Published {
  readonly version: string
  readonly name: string
}

/**
 * The range that a user means: semver's own, Cloud Foundry's (`22.x`, `~>3.1`), the Java buildpack's (`17.+`) and Composer's (`8.1.*|8.2.*`).
 * `aliases`: what may be said instead of one, e.g. `lts/*`.
 */
export function readRange(dependency: string, wanted: string, aliases: Readonly<Record<string, string>> = {}): string {
  const range = (aliases[wanted.toLowerCase()] ?? wanted)
    .trim()
    .replace(/^v(?=\d)/, '')
    .replace(/(\d)\.\+/g, '$1.x')
    .replace(/(?<!\|)\|(?!\|)/g, '||')
    .replace(/\s*,\s*/g, ' ')
  if (semver.validRange(range) === null)
    throw new NoSuchVersion(`'${wanted}' is not a version range for ${dependency}; write for example 22.x or ^20.11.0`)
  return range
}

/** The newest version in a range (semver's form), if there is one. Previews only where they are named. */
export function chooseVersion(range: string, versions: readonly Published[]): Published | undefined {
  const found = semver.maxSatisfying(
    versions.map(({ version }) => version),
    range,
  )
  return found === null ? undefined : versions.find(({ version }) => version === found)
}

/** What a source calls `21.0.8.2`, `1.22` or `v1.2.3`: as semver, or undefined for what is no version. Of equal ones the source's last counts. */
export function publishedVersions(names: readonly string[]): Published[] {
  const found = new Map<string, Published>()
  for (const name of names) {
    const version = semver.valid(name) ?? semver.valid(numericVersion(name))
    if (version !== null) found.set(version, { version, name })
  }
  return [...found.values()]
}

/** 21.0.8.2 is a build of 21.0.8. */
function numericVersion(name: string): string | undefined {
  const match = /^(\d+)(?:\.(\d+))?(?:\.(\d+))?(?:\.\d+)*$/.exec(name)
  return match ? `${match[1]}.${match[2] ?? 0}.${match[3] ?? 0}` : undefined
}

/** The sentence for the user: what there is, newest of each line first. */
export function noSuchVersion(
  dependency: string,
  wanted: string,
  versions: readonly string[],
  unreachable: readonly string[] = [],
): NoSuchVersion {
  const lines = newestPerLine(versions)
  const there = lines.length > 0 ? `Available: ${lines.join(', ')}` : 'None is available here'
  return new NoSuchVersion(
    [`no version of ${dependency} matches '${wanted}'. ${there}`, ...unreachable.map((reason) => `Not reached: ${reason}`)].join(
      '\n',
    ),
  )
}

/** The newest of each line, the newest line first; a line is a major version, or a minor one where there is only one major. */
export function newestPerLine(versions: readonly string[]): string[] {
  const released = semver.rsort(versions.filter((each) => semver.prerelease(each) === null))
  const majors = new Set(released.map((each) => semver.major(each)))
  const lines = new Map<string, string>()
  for (const version of released) {
    const line = majors.size > 1 ? String(semver.major(version)) : `${semver.major(version)}.${semver.minor(version)}`
    if (!lines.has(line)) lines.set(line, version)
  }
  return [...lines.values()]
}
