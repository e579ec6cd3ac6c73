import type { FailureCause } from './failure-cause.js'
import { findCause } from './find-cause.js'

/** How a staging container ended. */
export interface StagingEnd {
  readonly exitCode: number
  readonly outOfMemory: boolean
  /** Why the platform ended it, if it did. */
  readonly endedFor?: 'time' | 'disk' | 'machine-disk' | 'processes'
  /** Of a build that ran out of memory: the process that the kernel ended, and the memory that it had asked for. */
  readonly memoryVictim?: { readonly process: string; readonly wantedMb: number }
  /** The end of its output. */
  readonly lines: readonly string[]
}

export interface StagingLimits {
  readonly memoryMb: number
  readonly diskMb: number
  readonly timeoutMs: number
  readonly processes: number
}

/** CF's error id and sentence, why it came to that, and what to do next. */
export interface FailureExplanation {
  readonly class: string
  readonly sentence: string
  readonly cause: FailureCause
  readonly nextStep: string
  /** The lines of the output that tell of it, and the last ones. */
  readonly lastLines: readonly string[]
}

const SENTENCES = {
  NoAppDetectedError: 'An app was not successfully detected by any available buildpack',
  BuildpackCompileFailed: 'App staging failed in the buildpack compile phase',
  BuildpackReleaseFailed: 'App staging failed in the buildpack release phase',
} as const
const LAST_LINES = 20
const NO_SPACE = /no space left on device|disk quota exceeded|file too large|file size limit exceeded|EFBIG|ENOSPC/i
const NO_PROCESSES =
  /fork: (retry: )?resource temporarily unavailable|cannot fork|fork\(\) failed|can't start new thread|pthread_create.*(EAGAIN|failed)|unable to create (new )?native thread|spawn \S+ EAGAIN/i
const NO_MEMORY =
  /javascript heap out of memory|java\.lang\.OutOfMemoryError|^MemoryError\b|cannot allocate memory|fatal error: runtime: out of memory|signal: killed|ENOMEM/i
/** Killed for writing a file larger than its limit: 128 + SIGXFSZ. */
const FILE_SIZE_EXIT = 153

/** Why a staging ended as it did; undefined for success. */
export function explainFailure(end: StagingEnd, limits: StagingLimits): FailureExplanation | undefined {
  if (end.endedFor === undefined && end.exitCode === 0) return undefined
  const resource = explainResource(end, limits)
  if (resource !== undefined)
    return { ...resource, class: 'StagingError', sentence: `Staging error: ${resource.sentence}`, lastLines: relevant(end.lines) }
  const found = findCause(end.lines)
  const lastLines = relevant(end.lines, found?.line)
  switch (end.exitCode) {
    case 222:
      return {
        class: 'NoAppDetectedError',
        sentence: SENTENCES.NoAppDetectedError,
        cause: 'nothing-detected',
        nextStep: 'Push the folder that holds the app, or name a buildpack with cf push -b (cf buildpacks lists them).',
        lastLines,
      }
    case 224:
      return {
        class: 'BuildpackReleaseFailed',
        sentence: SENTENCES.BuildpackReleaseFailed,
        cause: found?.cause ?? 'release-failed',
        nextStep: found?.nextStep ?? "The buildpack's bin/release failed or printed no valid YAML; see its output above.",
        lastLines,
      }
    case 223:
      return {
        class: 'BuildpackCompileFailed',
        sentence: SENTENCES.BuildpackCompileFailed,
        cause: found?.cause ?? 'script-exit',
        nextStep: found?.nextStep ?? "The buildpack's output above says what failed (cf logs APP --recent).",
        lastLines,
      }
    default:
      return {
        class: 'StagingError',
        sentence: 'Staging error: staging failed',
        cause: found?.cause ?? 'script-exit',
        nextStep: found?.nextStep ?? 'The output above says what failed (cf logs APP --recent).',
        lastLines,
      }
  }
}

/** A limit that was reached; what the output says of missing packages is then only a consequence. */
function explainResource(
  { endedFor, exitCode, outOfMemory, memoryVictim, lines }: StagingEnd,
  limits: StagingLimits,
): Pick<FailureExplanation, 'sentence' | 'cause' | 'nextStep'> | undefined {
  const asksForDisk = 'Push fewer files (.cfignore), or ask for more disk (cf push -k).'
  if (endedFor === 'time')
    return {
      cause: 'out-of-time',
      sentence: `staging took longer than ${Math.round(limits.timeoutMs / 1000)} seconds and was ended`,
      nextStep: 'Make the build quicker, or have the operator raise BLOOMERY_STAGING_TIMEOUT_SECONDS.',
    }
  if (endedFor === 'disk')
    return {
      cause: 'out-of-disk',
      sentence: `staging used more than its ${limits.diskMb} MB of disk and was ended`,
      nextStep: asksForDisk,
    }
  if (endedFor === 'machine-disk')
    return {
      cause: 'machine-disk',
      sentence: 'the machine that stages apps has no disk space left',
      nextStep: 'Have the operator free disk space (bloom gc), then push again.',
    }
  if (endedFor === 'processes')
    return {
      cause: 'out-of-processes',
      sentence: `staging started more than its ${limits.processes} processes and was ended`,
      nextStep: 'Have the build run fewer things at once (make -j, test workers); a script that starts itself again never ends.',
    }
  const memory = outOfMemory ? true : lines.some((line) => NO_MEMORY.test(line)) && !lines.some((line) => NO_SPACE.test(line))
  if (memory) return explainMemory(outOfMemory, memoryVictim, lines, limits)
  if (exitCode === FILE_SIZE_EXIT || lines.some((line) => NO_SPACE.test(line)))
    return {
      cause: 'out-of-disk',
      sentence: `no space left on device while staging, which has ${limits.diskMb} MB of disk`,
      nextStep: asksForDisk,
    }
  if (lines.some((line) => NO_PROCESSES.test(line)))
    return {
      cause: 'out-of-processes',
      sentence: `staging could start no more than its ${limits.processes} processes`,
      nextStep: 'Have the build run fewer things at once (make -j, test workers).',
    }
  return undefined
}

function explainMemory(
  byKernel: boolean,
  victim: StagingEnd['memoryVictim'],
  lines: readonly string[],
  { memoryMb }: StagingLimits,
): Pick<FailureExplanation, 'sentence' | 'cause' | 'nextStep'> {
  const wanted = victim === undefined ? '' : `; ${victim.process} had asked for ${victim.wantedMb} MB`
  const said = lines.find((line) => NO_MEMORY.test(line))?.trim()
  const enough = Math.max(2 * memoryMb, victim === undefined ? 0 : Math.ceil((victim.wantedMb * 1.2) / 256) * 256)
  // An address space says how much was reserved, which is far more than is needed with Java or Node.
  const suggested = Math.min(enough, 4 * memoryMb)
  return {
    cause: 'out-of-memory',
    sentence: byKernel
      ? `staging needed more than its ${memoryMb} MB of memory and was ended (out of memory${wanted})`
      : `staging ran out of memory within its ${memoryMb} MB${said === undefined ? '' : ` (${said.slice(0, 200)})`}`,
    nextStep: `Ask for more memory, which staging gets too: cf push -m ${suggested}M.`,
  }
}

/** The line that tells the cause with its neighbours, then the last ones: twenty at most. */
function relevant(lines: readonly string[], at?: number): string[] {
  const tail = lines.length - LAST_LINES
  if (at === undefined || at >= tail + 2) return lines.slice(Math.max(0, tail))
  const around = lines.slice(Math.max(0, at - 2), at + 6)
  return [...around, '…', ...lines.slice(lines.length - (LAST_LINES - around.length - 1))]
}
