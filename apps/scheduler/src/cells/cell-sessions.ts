import type { AppliedWish } from '@bloomery/domain'
import { wantOf, type CellWish } from './desired-document.js'

const REMEMBERED_WISHES = 32

interface Session {
  epoch: string
  /** Agents that were replaced; they may not come back. */
  readonly earlier: Set<string>
  /** Whether this session has told what it runs. */
  reported: boolean
  engineHealthy: boolean
  /** Instances that it runs by its latest report. */
  running: number
  readonly wishes: Map<string, ReadonlyMap<string, 'run' | 'stop'>>
}

/** What the leader remembers of each cell's agent. All of it is learnt anew after a change of leader. */
export class CellSessions {
  readonly #sessions = new Map<string, Session>()
  #waiting = new Map<string, Set<() => void>>()

  get size(): number {
    return this.#sessions.size
  }

  /** False for an agent that a newer one has replaced. */
  begin(cellId: string, epoch: string): boolean {
    const session = this.#sessions.get(cellId)
    if (session?.earlier.has(epoch)) return false
    const earlier = session?.earlier ?? new Set<string>()
    const wishes: Session['wishes'] = session?.wishes ?? new Map<string, ReadonlyMap<string, 'run' | 'stop'>>()
    if (session && session.epoch !== epoch) earlier.add(session.epoch)
    this.#sessions.set(cellId, {
      epoch,
      earlier,
      reported: false,
      engineHealthy: true,
      running: 0,
      wishes,
    })
    this.wake(cellId)
    return true
  }

  /** Takes note of a session that registered with another leader. */
  resume(cellId: string, epoch: string): void {
    if (this.#sessions.get(cellId)?.epoch !== epoch) this.begin(cellId, epoch)
  }

  /** At the begin of a term: others may have led in between. */
  forget(): void {
    this.#sessions.clear()
    this.wakeAll()
  }

  noteReport(cellId: string, report: { readonly engineHealthy: boolean; readonly running: number }): void {
    const session = this.#sessions.get(cellId)
    if (!session) return
    session.engineHealthy = report.engineHealthy
    session.running = report.running
    if (!session.reported) {
      session.reported = true
      this.wake(cellId)
    }
  }

  hasReported(cellId: string): boolean {
    return this.#sessions.get(cellId)?.reported ?? false
  }

  runsAnything(cellId: string): boolean {
    return (this.#sessions.get(cellId)?.running ?? 0) > 0
  }

  /** New work goes to cells that have told what they run, and whose engine answers. */
  canStart(cellId: string): boolean {
    const session = this.#sessions.get(cellId)
    return session !== undefined && session.reported && session.engineHealthy
  }

  remember(cellId: string, wish: CellWish): void {
    const wishes = this.#sessions.get(cellId)?.wishes
    if (!wishes) return
    wishes.delete(wish.revision)
    wishes.set(wish.revision, new Map(wish.instances.map((row) => [row.instanceGuid ?? '', wantOf(row)])))
    for (const oldest of wishes.keys()) {
      if (wishes.size <= REMEMBERED_WISHES) break
      wishes.delete(oldest)
    }
  }

  /** Which instances were wanted by that revision; undefined when it is not remembered. */
  wishOf(cellId: string, revision: string): AppliedWish {
    return this.#sessions.get(cellId)?.wishes.get(revision)
  }

  /** Resolves when something may have changed for the cell, or after the time. */
  async changed(cellId: string, timeoutMs: number, signal: AbortSignal): Promise<void> {
    await new Promise<void>((resolve) => {
      const waiting = this.#waiting.get(cellId) ?? new Set()
      this.#waiting.set(cellId, waiting)
      const finish = (): void => {
        clearTimeout(timer)
        signal.removeEventListener('abort', finish)
        waiting.delete(finish)
        resolve()
      }
      const timer = setTimeout(finish, timeoutMs)
      waiting.add(finish)
      signal.addEventListener('abort', finish)
      if (signal.aborted) finish()
    })
  }

  wake(cellId: string): void {
    for (const finish of [...(this.#waiting.get(cellId) ?? [])]) finish()
  }

  wakeAll(): void {
    for (const cellId of this.#waiting.keys()) this.wake(cellId)
  }
}
