import type { Build, DecisionRecord, Droplet } from '@bloomery/database'
import { maskCredentials } from '../apps/presenter.js'

interface Failure {
  readonly class: string
  readonly sentence: string
  readonly cause?: string
  readonly nextStep: string
  readonly lastLines: readonly string[]
}

/** Why a build is where it is: what it waits for, what it was made of, or why it failed and what to do. */
export function presentExplanation(
  build: Build & { app: { guid: string; name: string } },
  droplet: (Droplet & { _count: { components: number } }) | null,
  decisions: readonly DecisionRecord[],
) {
  const failure = build.failure as unknown as Failure | null
  const { startedAt, finishedAt } = build
  return {
    guid: build.guid,
    state: build.state,
    app: { guid: build.app.guid, name: build.app.name },
    created_at: build.createdAt.toISOString(),
    started_at: startedAt?.toISOString() ?? null,
    finished_at: finishedAt?.toISOString() ?? null,
    /** From the first line of work to the last. */
    seconds: startedAt && finishedAt ? (finishedAt.getTime() - startedAt.getTime()) / 1000 : null,
    attempts: build.attempts,
    waits_for: build.state === 'STAGING' ? build.waitsFor : null,
    settings: {
      buildpacks: build.buildpacks.map(maskCredentials),
      stack: build.stack,
      memory_in_mb: build.stagingMemoryMb,
      disk_in_mb: build.stagingDiskMb,
    },
    reused: build.reused,
    droplet: droplet && {
      guid: droplet.guid,
      checksum: droplet.sha256 === null ? null : `sha256:${droplet.sha256}`,
      bytes: droplet.sizeBytes === null ? null : Number(droplet.sizeBytes),
      created_at: droplet.createdAt.toISOString(),
      inputs: droplet.inputs,
      components: droplet._count.components,
    },
    failure: failure && {
      id: failure.class,
      cause: failure.cause ?? null,
      sentence: failure.sentence,
      next_step: failure.nextStep,
      last_lines: failure.lastLines,
    },
    decisions: decisions.map(({ createdAt, summary }) => ({ at: createdAt.toISOString(), summary })),
  }
}
