import { isBuildpackAddress } from '@bloomery/domain'
import type { BuildpackRecord } from '../builds/build-record.js'
import { stagingError, StagingFailure } from '../staging/failure.js'
import { withoutUserinfo } from '../staging/staging-result.js'

export type ChosenBuildpack =
  | { readonly kind: 'kept'; readonly key: string; readonly record: BuildpackRecord }
  | { readonly kind: 'address'; readonly key: string; readonly url: string }

/**
 * Which buildpacks stage a build. Named ones are taken in their order and not asked; with none named, every enabled one of the stack is
 * asked in its place. `kept`: those of the build's stack and of none, by position.
 */
export function chooseBuildpacks(
  named: readonly string[],
  kept: readonly BuildpackRecord[],
  stack: string,
): { readonly skipDetect: boolean; readonly buildpacks: readonly ChosenBuildpack[] } {
  const usable = kept.filter(({ state }) => state === 'READY')
  if (named.length === 0) {
    const asked = usable.filter(({ enabled }) => enabled)
    if (asked.length === 0)
      throw new StagingFailure(
        'NoAppDetectedError',
        'An app was not successfully detected by any available buildpack',
        'nothing-detected',
        `No buildpack is enabled for the stack ${stack}; see cf buildpacks.`,
      )
    return { skipDetect: false, buildpacks: asked.map((record) => ({ kind: 'kept', key: record.name, record })) }
  }
  const awaiting = kept.flatMap((record) => (record.state === 'READY' ? [] : [record.name]))
  return { skipDetect: true, buildpacks: named.map((name) => chooseNamed(name, usable, awaiting, stack)) }
}

function chooseNamed(
  name: string,
  usable: readonly BuildpackRecord[],
  awaiting: readonly string[],
  stack: string,
): ChosenBuildpack {
  if (isBuildpackAddress(name)) return { kind: 'address', key: name, url: name }
  const found = usable
    .filter((record) => record.name === name)
    .sort((a, b) => Number(b.stack === stack) - Number(a.stack === stack))[0]
  if (!found && awaiting.includes(name))
    throw stagingError(
      'buildpack-unavailable',
      `the buildpack '${name}' has no bits yet`,
      `Have the operator upload them (cf update-buildpack ${name} -p ZIP), or name another that cf buildpacks lists.`,
    )
  if (!found)
    throw stagingError(
      'buildpack-unavailable',
      `the buildpack '${withoutUserinfo(name)}' does not exist for the stack ${stack}`,
      'Name one that cf buildpacks lists for that stack or for none, another stack (cf push -s), or an address of a git repository or zip file.',
    )
  if (!found.enabled)
    throw stagingError(
      'buildpack-unavailable',
      `the buildpack '${name}' is disabled`,
      'Name another, or have the operator enable it.',
    )
  return { kind: 'kept', key: name, record: found }
}
