export type PlanVisibility = 'public' | 'admin' | 'organization' | 'space'

/** Who may see a plan, as far as rules go. */
export interface VisiblePlan {
  readonly visibility: PlanVisibility
  /** Of type `organization`. */
  readonly organizationGuids: ReadonlySet<string>
  /** The space of a space-scoped broker. */
  readonly brokerSpaceGuid: string | undefined
}

/** Whether instances of the plan may be made in this space: what the marketplace of the space shows, and sharing asks for. */
export function isPlanUsableIn(plan: VisiblePlan, space: { readonly guid: string; readonly organizationGuid: string }): boolean {
  switch (plan.visibility) {
    case 'public':
      return true
    case 'admin':
      return false
    case 'organization':
      return plan.organizationGuids.has(space.organizationGuid)
    case 'space':
      return plan.brokerSpaceGuid === space.guid
  }
}

/** The type that a new plan begins with: those of a space's broker belong to that space, all others wait for the operator. */
export const initialVisibility = (brokerSpaceGuid: string | null): PlanVisibility =>
  brokerSpaceGuid === null ? 'admin' : 'space'
