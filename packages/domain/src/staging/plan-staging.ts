/** A build that nobody works on yet. */
export interface WaitingBuild {
  readonly guid: string
  readonly spaceGuid: string
  readonly memoryMb: number
  readonly createdAt: Date
}

/** A build under way, on whichever machine. */
export interface RunningBuild {
  readonly guid: string
  readonly spaceGuid: string
  /** On the machine that asks. */
  readonly isHere: boolean
  readonly memoryMb: number
  /** What it uses of that; unknown while it begins. */
  readonly usedMb?: number
}

/** What a machine has for staging. */
export interface StagingCapacity {
  /** Never more builds at once. */
  readonly builds: number
  /** Memory that programs could have now without pushing others out. */
  readonly availableMb: number
  /** Of that, what is left to running apps and the platform. */
  readonly reserveMb: number
}

export interface StagingPlan {
  readonly start: readonly string[]
  /** Why the others wait, for their users. */
  readonly waits: ReadonlyMap<string, string>
}

/**
 * Which of the waiting builds a machine begins. Spaces take turns: the one with the fewest builds under way comes first, then the one whose build
 * has waited longest. A build fits where its whole memory does, together with what the others may yet take; one that can never fit runs alone.
 * The first in line is not overtaken for want of memory, so that large builds come to their turn.
 */
export function planStaging(
  waiting: readonly WaitingBuild[],
  running: readonly RunningBuild[],
  capacity: StagingCapacity,
): StagingPlan {
  const underWay = new Map<string, number>()
  for (const { spaceGuid } of running) underWay.set(spaceGuid, (underWay.get(spaceGuid) ?? 0) + 1)
  const here = running.filter(({ isHere }) => isHere)
  let places = capacity.builds - here.length
  let alone = here.length === 0
  let freeMb =
    capacity.availableMb -
    capacity.reserveMb -
    here.reduce((sum, { memoryMb, usedMb }) => sum + Math.max(0, memoryMb - (usedMb ?? 0)), 0)
  const start: string[] = []
  const left = [...waiting]
  let blocked: string | undefined
  while (blocked === undefined) {
    const next = takeFairest(left, underWay)
    if (next === undefined) break
    if (places <= 0) blocked = `${capacity.builds} builds are under way; it is staged in its turn`
    else if (next.memoryMb > freeMb && !alone)
      blocked = `${next.memoryMb} MB of memory are needed and ${Math.max(0, Math.floor(freeMb))} MB are free; it begins as soon as others end`
    if (blocked !== undefined) {
      left.push(next)
      break
    }
    start.push(next.guid)
    underWay.set(next.spaceGuid, (underWay.get(next.spaceGuid) ?? 0) + 1)
    places -= 1
    freeMb -= next.memoryMb
    alone = false
  }
  return { start, waits: new Map(left.map(({ guid }) => [guid, blocked ?? ''])) }
}

/** Takes it out of the list. */
function takeFairest(left: WaitingBuild[], underWay: ReadonlyMap<string, number>): WaitingBuild | undefined {
  let best: WaitingBuild | undefined
  for (const build of left) if (best === undefined || comesBefore(build, best, underWay)) best = build
  if (best !== undefined) left.splice(left.indexOf(best), 1)
  return best
}

function comesBefore(a: WaitingBuild, b: WaitingBuild, underWay: ReadonlyMap<string, number>): boolean {
  const [ofA, ofB] = [underWay.get(a.spaceGuid) ?? 0, underWay.get(b.spaceGuid) ?? 0]
  if (ofA !== ofB) return ofA < ofB
  const difference = a.createdAt.getTime() - b.createdAt.getTime()
  return difference === 0 ? a.guid < b.guid : difference < 0
}
