/** A plan as updates see it. */
export interface UpdatablePlan {
  readonly guid: string
  readonly active: boolean
  readonly bindable: boolean
  readonly planUpdateable: boolean
  /** Of the offering: the broker wants to hear of new names. */
  readonly allowContextUpdates: boolean
  readonly maintenanceVersion: string | undefined
}
export interface UpdatableInstance {
  readonly name: string
  readonly createFailed: boolean
  readonly shared: boolean
  readonly bound: boolean
  readonly plan: UpdatablePlan
  readonly maintenanceVersion: string | undefined
}
export interface WantedUpdate {
  readonly name?: string | undefined
  readonly hasParameters: boolean
  /** Where a plan was named; it may be the present one. */
  readonly plan?: UpdatablePlan | undefined
  readonly maintenanceVersion?: string | undefined
}
export type UpdateRefusal =
  | 'instance-not-created'
  | 'shared-not-renamable'
  | 'plan-not-updateable'
  | 'not-bindable'
  | 'maintenance-with-plan-change'
  | 'maintenance-not-supported'
  | 'maintenance-version-unknown'
  | 'inaccessible-plan-parameters'
  | 'inaccessible-plan-name'
  | 'inaccessible-plan-maintenance'

/** What becomes of a wish to change a managed instance: refused, done here, or asked of the broker. */
export type UpdatePlan =
  | { readonly kind: 'refused'; readonly why: UpdateRefusal }
  | { readonly kind: 'local' }
  | {
      readonly kind: 'broker'
      readonly planGuid: string
      /** What the request carries, and the instance has afterwards. */
      readonly maintenanceVersion: string | undefined
    }

/** Decides on an update in the order in which Cloud Foundry checks it. */
export function planInstanceUpdate(instance: UpdatableInstance, wanted: WantedUpdate): UpdatePlan {
  const why = refusalOf(instance, wanted)
  if (why) return { kind: 'refused', why }
  const changesPlan = wanted.plan !== undefined && wanted.plan.guid !== instance.plan.guid
  const upgrades = wanted.maintenanceVersion !== undefined && wanted.maintenanceVersion !== instance.maintenanceVersion
  const tellsName = wanted.name !== undefined && instance.plan.allowContextUpdates
  if (!changesPlan && !upgrades && !tellsName && !wanted.hasParameters) return { kind: 'local' }
  return {
    kind: 'broker',
    planGuid: wanted.plan?.guid ?? instance.plan.guid,
    maintenanceVersion: changesPlan ? wanted.plan.maintenanceVersion : wanted.maintenanceVersion,
  }
}

function refusalOf(instance: UpdatableInstance, wanted: WantedUpdate): UpdateRefusal | undefined {
  const { plan } = instance
  if (instance.createFailed) return 'instance-not-created'
  if (wanted.name !== undefined && instance.shared) return 'shared-not-renamable'
  if (wanted.plan && !plan.planUpdateable) return 'plan-not-updateable'
  if (wanted.plan && instance.bound && !wanted.plan.bindable) return 'not-bindable'
  if (wanted.maintenanceVersion !== undefined) {
    if (wanted.plan && wanted.plan.guid !== plan.guid) return 'maintenance-with-plan-change'
    if (plan.maintenanceVersion === undefined) return 'maintenance-not-supported'
    if (wanted.maintenanceVersion !== plan.maintenanceVersion && wanted.maintenanceVersion !== instance.maintenanceVersion)
      return 'maintenance-version-unknown'
  }
  if (plan.active) return undefined
  if (wanted.hasParameters) return 'inaccessible-plan-parameters'
  if (wanted.name !== undefined && plan.allowContextUpdates) return 'inaccessible-plan-name'
  if (wanted.maintenanceVersion !== undefined && wanted.maintenanceVersion !== instance.maintenanceVersion)
    return 'inaccessible-plan-maintenance'
  return undefined
}

/** Whether the plan has moved on since the instance was made or upgraded. */
export const isUpgradeAvailable = (instanceVersion: string | undefined, planVersion: string | undefined): boolean =>
  planVersion !== undefined && planVersion !== instanceVersion
