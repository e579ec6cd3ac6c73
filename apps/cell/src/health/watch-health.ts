import { setTimeout as delay } from 'node:timers/promises'
import type { HealthCheck } from '@bloomery/contracts'
import { goDuration } from '@bloomery/domain'
import { probe, type ProbeResult } from './probe.js'

const DEFAULT_STARTUP_SECONDS = 60
const DEFAULT_INTERVAL_SECONDS = 30
const UNTIL_READY_MS = 2000
/** A program that starts quickly shall be noticed quickly; one that takes long is not asked ten times a second. */
const FIRST_PROBE_MS = 15
const PROBE_GROWTH = 1.15
const LAST_PROBE_MS = 1000

export interface HealthSubject {
  readonly check: HealthCheck
  readonly readiness: HealthCheck
  readonly target: { readonly host: string; readonly port: number }
  readonly startedAt: Date
  /** Adopted after a restart of the agent: it had passed its startup check. */
  readonly wasHealthy: boolean
  readonly wasReady: boolean
}

export interface HealthEvents {
  log(sourceType: 'CELL' | 'HEALTH', text: string, stream: 'OUT' | 'ERR'): void
  /** It passed its startup check; `routable` unless a readiness check has to pass first. */
  healthy(routable: boolean): void
  routable(routable: boolean): void
}

/** Resolves with the crash reason when the instance turns out to be unwell; runs until then or until `signal` aborts. */
export async function watchHealth(
  subject: HealthSubject,
  events: HealthEvents,
  signal: AbortSignal,
): Promise<string | undefined> {
  try {
    if (!subject.wasHealthy) {
      const never = await startup(subject, events, signal)
      if (never !== undefined) return never
      events.healthy(subject.readiness.type === 'process')
    }
    if (subject.readiness.type !== 'process') void watchReadiness(subject, events, signal)
    return await liveness(subject, events, signal)
  } catch (error) {
    if (signal.aborted) return undefined
    throw error
  }
}

async function startup(
  { check, target, startedAt }: HealthSubject,
  events: HealthEvents,
  signal: AbortSignal,
): Promise<string | undefined> {
  if (check.type === 'process') return undefined
  events.log('CELL', 'Starting health monitoring of container', 'OUT')
  const limitMs = (check.timeout ?? DEFAULT_STARTUP_SECONDS) * 1000
  for (let waitMs = FIRST_PROBE_MS; ; waitMs = Math.min(LAST_PROBE_MS, waitMs * PROBE_GROWTH)) {
    const failure = await probe(check, target)
    signal.throwIfAborted()
    if (failure === undefined) {
      events.log('CELL', 'Container became healthy', 'OUT')
      return undefined
    }
    const elapsedMs = Date.now() - startedAt.getTime()
    if (elapsedMs >= limitMs) {
      const elapsed = goDuration(elapsedMs)
      events.log('HEALTH', failure, 'ERR')
      events.log('CELL', `Failed after ${elapsed}: startup health check never passed.`, 'ERR')
      return `Instance never healthy after ${elapsed}: ${failure}`
    }
    await delay(Math.min(waitMs, Math.max(1, limitMs - elapsedMs)), undefined, { signal })
  }
}

/** The first failure ends it. */
async function liveness(
  { check, target }: HealthSubject,
  events: HealthEvents,
  signal: AbortSignal,
): Promise<string | undefined> {
  if (check.type === 'process') return undefined
  for (;;) {
    await delay((check.interval ?? DEFAULT_INTERVAL_SECONDS) * 1000, undefined, { signal })
    const failure = await probe(check, target)
    signal.throwIfAborted()
    if (failure === undefined) continue
    events.log('HEALTH', failure, 'ERR')
    events.log('CELL', 'Container became unhealthy', 'ERR')
    return `Instance became unhealthy: ${failure}`
  }
}

/** Takes the instance into the routes and out of them; never ends it. */
async function watchReadiness(subject: HealthSubject, events: HealthEvents, signal: AbortSignal): Promise<void> {
  const { readiness, target } = subject
  let ready = subject.wasReady
  events.log('HEALTH', 'Starting readiness health monitoring of container', 'OUT')
  try {
    for (;;) {
      const failure: ProbeResult = await probe(readiness, target)
      signal.throwIfAborted()
      if ((failure === undefined) !== ready) {
        ready = failure === undefined
        if (failure !== undefined) events.log('HEALTH', failure, 'ERR')
        events.log('HEALTH', ready ? PASSED : FAILED, 'OUT')
        events.routable(ready)
      }
      const intervalMs = (readiness.interval ?? DEFAULT_INTERVAL_SECONDS) * 1000
      await delay(ready ? intervalMs : Math.min(intervalMs, UNTIL_READY_MS), undefined, { signal })
    }
  } catch (error) {
    if (!signal.aborted) throw error
  }
}

const PASSED = 'Container passed the readiness health check. Container marked ready and added to route pool.'
const FAILED = 'Container failed the readiness health check. Container marked not ready and removed from route pool.'
