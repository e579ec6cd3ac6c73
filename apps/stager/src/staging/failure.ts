import type { BuildFailure } from '../builds/build-record.js'

/** A staging that failed for a reason that the user can act on. */
export class StagingFailure extends Error {
  override readonly name = 'StagingFailure'
  constructor(
    readonly errorClass: string,
    readonly sentence: string,
    readonly nextStep: string,
    options?: ErrorOptions,
  ) {
    super(`${errorClass} - ${sentence}`, options)
  }
}

const SENTENCES = {
  NoAppDetectedError: 'An app was not successfully detected by any available buildpack',
  BuildpackCompileFailed: 'App staging failed in the buildpack compile phase',
  BuildpackReleaseFailed: 'App staging failed in the buildpack release phase',
  InsufficientResources: 'Insufficient resources',
} as const

export const stagingError = (what: string, nextStep: string, options?: ErrorOptions): StagingFailure =>
  new StagingFailure('StagingError', `Staging error: ${what}`, nextStep, options)

const ofClass = (errorClass: keyof typeof SENTENCES, nextStep: string): StagingFailure =>
  new StagingFailure(errorClass, SENTENCES[errorClass], nextStep)

/** How a staging container ended. */
export interface StagingEnd {
  readonly exitCode: number
  readonly outOfMemory: boolean
  /** Why the stager ended it, if it did. */
  readonly endedFor?: 'time' | 'disk' | 'machine-disk'
  readonly lastLines: readonly string[]
}

/** The builder's exit code, or what ended it, in CF's classes; undefined for success. */
export function failureOf(
  end: StagingEnd,
  limits: { readonly memoryMb: number; readonly diskMb: number; readonly timeoutMs: number },
): StagingFailure | undefined {
  if (end.endedFor === 'time')
    return stagingError(
      `staging took longer than ${Math.round(limits.timeoutMs / 1000)} seconds and was ended`,
      'Make the build quicker, or have the operator raise BLOOMERY_STAGING_TIMEOUT_SECONDS.',
    )
  if (end.endedFor === 'disk')
    return stagingError(
      `staging used more than its ${limits.diskMb} MB of disk and was ended`,
      'Push fewer files (.cfignore), or ask for more disk (cf push -k).',
    )
  if (end.endedFor === 'machine-disk')
    return stagingError(
      'the machine that stages apps has no disk space left',
      'Have the operator free disk space, then push again.',
    )
  if (end.exitCode === 0) return undefined
  if (end.outOfMemory)
    return stagingError(
      `staging needed more than its ${limits.memoryMb} MB of memory and was ended (out of memory)`,
      'Ask for more memory (cf push -m), which staging gets too.',
    )
  if (end.lastLines.some((line) => /no space left on device/i.test(line)))
    return stagingError(
      'no space left on device while staging',
      'Push fewer files (.cfignore), or ask for more disk (cf push -k).',
    )
  switch (end.exitCode) {
    case 222:
      return ofClass(
        'NoAppDetectedError',
        'Push the folder that holds the app, or name a buildpack with cf push -b (cf buildpacks lists them).',
      )
    case 223:
      return ofClass('BuildpackCompileFailed', "The buildpack's output above says what failed (cf logs APP --recent).")
    case 224:
      return ofClass(
        'BuildpackReleaseFailed',
        "The buildpack's bin/release failed or printed no valid YAML; see its output above.",
      )
    default:
      return stagingError('staging failed', 'The output above says what failed (cf logs APP --recent).')
  }
}

export const toBuildFailure = (failure: StagingFailure, lastLines: readonly string[]): BuildFailure => ({
  class: failure.errorClass,
  sentence: failure.sentence,
  nextStep: failure.nextStep,
  lastLines,
})
