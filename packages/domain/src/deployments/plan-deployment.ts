/** An instance of the version that is being rolled out. */
export interface DeployingInstance {
  readonly index: number
  readonly state: 'unclaimed' | 'claimed' | 'running' | 'crashed' | 'stopping'
  readonly stateSince: Date
  readonly routable: boolean
  readonly crashCount: number
  readonly crashReason: string | null
  readonly placementError: string | null
}

export interface DeploymentWorld {
  readonly statusReason: string
  /** Instances to reach; also what a cancelled deployment goes back to, unless told otherwise. */
  readonly targetInstances: number
  readonly originalInstances: number
  readonly maxInFlight: number
  /** Whether the new version's health check sees more than that the program runs. */
  readonly isChecked: boolean
  readonly lastHealthyAt: Date
  readonly lastStatusChangeAt: Date
  readonly appStarted: boolean
  /** undefined: its row is gone. */
  readonly newProcess: { readonly guid: string; readonly instances: number } | undefined
  /** The app's other rows of that type, oldest first. */
  readonly oldProcesses: readonly { readonly guid: string; readonly instances: number; readonly running: number }[]
  /** Ordinary instances of the new process and its spec. */
  readonly instances: readonly DeployingInstance[]
  readonly now: Date
}

export interface DeploymentScale {
  readonly processGuid: string
  readonly instances: number
}
export type DeploymentStep =
  /** Scale and note progress. */
  | {
      readonly kind: 'scale'
      readonly scales: readonly DeploymentScale[]
      readonly healthy: boolean
      readonly detail: string | null
    }
  /** The new row becomes the app's ordinary process; the old rows go. */
  | { readonly kind: 'finish' }
  /** Turn back: the old version up first. */
  | { readonly kind: 'begin-cancel'; readonly detail: string }
  | { readonly kind: 'finish-cancel'; readonly keepProcessGuid: string | undefined; readonly detail: string | null }

export const DEPLOYMENT_LIMITS = {
  /** How long a program must have run to be believed where nothing checks that it answers: many that fail, fail at once. */
  uncheckedMs: 3_000,
  /** The same for an instance that has crashed before. */
  relapsedMs: 10_000,
  /** Without progress for this long a deployment gives up. The longest startup limit of a health check is three minutes. */
  stalledMs: 4 * 60_000,
  /** How long a cancelled one waits for the old version to be back at full strength before the new one goes. */
  turnBackMs: 60_000,
} as const

/** One step of a rolling deployment, by Cloud Foundry's rules: up first, and down only by what serves already. */
export function planDeployment(world: DeploymentWorld): DeploymentStep | undefined {
  if (world.statusReason === 'CANCELING') return planTurningBack(world)
  if (!world.newProcess)
    return { kind: 'finish-cancel', keepProcessGuid: oldest(world)?.guid, detail: 'The process of the new version was deleted.' }
  if (!world.appStarted) return { kind: 'begin-cancel', detail: 'The app was stopped during the deployment.' }
  return planRollOut(world, world.newProcess)
}

const oldest = ({ oldProcesses }: DeploymentWorld) => oldProcesses[0]
const isServing = ({ state, routable }: DeployingInstance): boolean => state === 'running' && routable

/** Serves, and is believed to go on: only then may the old version give way to it. */
function isProven(instance: DeployingInstance, { isChecked, now }: DeploymentWorld): boolean {
  const proofMs = instance.crashCount > 0 ? DEPLOYMENT_LIMITS.relapsedMs : isChecked ? 0 : DEPLOYMENT_LIMITS.uncheckedMs
  return isServing(instance) && now.getTime() - instance.stateSince.getTime() >= proofMs
}

function planRollOut(world: DeploymentWorld, newProcess: { guid: string; instances: number }): DeploymentStep | undefined {
  const { targetInstances: target, maxInFlight } = world
  const counted = world.instances.filter(({ index }) => index < newProcess.instances)
  const serving = counted.filter((instance) => isProven(instance, world)).length
  if (newProcess.instances >= target && serving >= target) return { kind: 'finish' }

  const failing = counted.find(({ state, crashCount }) => state === 'crashed' || crashCount > 0)
  const mayGrow = !counted.some(({ state }) => state === 'crashed') && newProcess.instances - serving < maxInFlight
  const scales: DeploymentScale[] = scaleDownOld(world, serving)
  const grown = Math.min(serving + maxInFlight, target)
  if (mayGrow && grown > newProcess.instances) scales.push({ processGuid: newProcess.guid, instances: grown })
  if (scales.length > 0) return { kind: 'scale', scales, healthy: true, detail: null }

  const detail = obstacleOf(counted, failing)
  if (world.now.getTime() - world.lastHealthyAt.getTime() > DEPLOYMENT_LIMITS.stalledMs)
    return {
      kind: 'begin-cancel',
      detail: `${detail ?? 'The new version did not become ready.'} The deployment was cancelled after four minutes without progress.`,
    }
  return { kind: 'scale', scales: [], healthy: false, detail }
}

/**
 * The old rows, oldest first, down to what the new version does not yet serve. What was left half done by an earlier deployment and
 * serves nothing goes first: it must not be counted as if it did.
 */
function scaleDownOld({ oldProcesses, targetInstances }: DeploymentWorld, serving: number): DeploymentScale[] {
  // A new version that serves nothing yet takes nothing away, even where more than the target runs.
  if (serving === 0) return []
  const idle = oldProcesses.filter(({ running, instances }) => running === 0 && instances > 0)
  const scales: DeploymentScale[] = idle.map(({ guid }) => ({ processGuid: guid, instances: 0 }))
  const busy = oldProcesses.filter(({ running }) => running > 0)
  let surplus = busy.reduce((sum, { instances }) => sum + instances, 0) - Math.max(targetInstances - serving, 0)
  for (const { guid, instances } of busy) {
    const fewer = Math.min(Math.max(surplus, 0), instances)
    if (fewer > 0) scales.push({ processGuid: guid, instances: instances - fewer })
    surplus -= fewer
  }
  return scales
}

function obstacleOf(instances: readonly DeployingInstance[], failing: DeployingInstance | undefined): string | null {
  if (failing)
    return `Instance ${failing.index} of the new version crashed (${failing.crashReason ?? 'no reason known'}), ${failing.crashCount} times so far; the old version keeps serving.`
  const homeless = instances.find(({ state, placementError }) => state === 'unclaimed' && placementError !== null)
  if (homeless)
    return `Instance ${homeless.index} of the new version has no place: ${homeless.placementError ?? ''}; the old version keeps serving.`
  return null
}

function planTurningBack(world: DeploymentWorld): DeploymentStep {
  const keep = oldest(world)
  if (!keep) return { kind: 'finish-cancel', keepProcessGuid: world.newProcess?.guid, detail: null }
  if (keep.instances !== world.originalInstances)
    return {
      kind: 'scale',
      scales: [{ processGuid: keep.guid, instances: world.originalInstances }],
      healthy: false,
      detail: null,
    }
  const waitedMs = world.now.getTime() - world.lastStatusChangeAt.getTime()
  const someServe = world.instances.some(isServing)
  const strong = keep.running >= world.originalInstances
  const mayEnd = strong || !someServe || !world.appStarted || waitedMs > DEPLOYMENT_LIMITS.turnBackMs
  return mayEnd
    ? { kind: 'finish-cancel', keepProcessGuid: keep.guid, detail: null }
    : { kind: 'scale', scales: [], healthy: false, detail: null }
}
