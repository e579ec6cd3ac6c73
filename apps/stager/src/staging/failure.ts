import type { FailureCause, FailureExplanation } from '@bloomery/domain'
import type { BuildFailure } from '../builds/build-record.js'

/** A staging that failed for a reason that somebody can act on. */
export class StagingFailure extends Error {
  override readonly name = 'StagingFailure'
  constructor(
    readonly errorClass: string,
    readonly sentence: string,
    readonly kind: FailureCause,
    readonly nextStep: string,
    options?: ErrorOptions & { readonly lastLines?: readonly string[] },
  ) {
    super(`${errorClass} - ${sentence}`, options)
    this.lastLines = options?.lastLines
  }
  /** What its output says of it; the end of the output where nothing is said here. */
  readonly lastLines: readonly string[] | undefined
}

export const stagingError = (cause: FailureCause, what: string, nextStep: string, options?: ErrorOptions): StagingFailure =>
  new StagingFailure('StagingError', `Staging error: ${what}`, cause, nextStep, options)

export const asFailure = ({ class: errorClass, sentence, cause, nextStep, lastLines }: FailureExplanation): StagingFailure =>
  new StagingFailure(errorClass, sentence, cause, nextStep, { lastLines })

export const toBuildFailure = (failure: StagingFailure, lastLines: readonly string[]): BuildFailure => ({
  class: failure.errorClass,
  sentence: failure.sentence,
  cause: failure.kind,
  nextStep: failure.nextStep,
  lastLines: failure.lastLines ?? lastLines,
})
