/** An offering of the broker as it is kept. */
export interface KnownOffering {
  readonly guid: string
  readonly catalogId: string
  readonly name: string
  readonly plans: readonly KnownPlan[]
}
interface KnownPlan {
  readonly guid: string
  readonly catalogId: string
  readonly name: string
  readonly hasInstances: boolean
}
/** An offering of a valid catalog. */
export interface CatalogOffering {
  readonly id: string
  readonly name: string
  readonly plans: readonly { readonly id: string; readonly name: string }[]
}

/** What makes the kept catalog equal to the broker's. Ids are catalog ids, guids those of what is kept. */
export interface CatalogChanges {
  /** `guid` undefined: new. */
  readonly offerings: readonly {
    readonly id: string
    readonly guid: string | undefined
    readonly plans: readonly { readonly id: string; readonly guid: string | undefined }[]
  }[]
  /** Gone from the catalog while instances remain: kept, not on offer. */
  readonly deactivatedOfferings: readonly string[]
  readonly deletedOfferings: readonly string[]
  readonly deactivatedPlans: readonly string[]
  readonly deletedPlans: readonly string[]
  /** Of each offering that lost plans with instances, for the warning. */
  readonly deactivated: readonly { readonly offering: string; readonly plans: readonly string[] }[]
}

const inUse = (offering: KnownOffering): boolean => offering.plans.some((plan) => plan.hasInstances)

/** Faults that a catalog has only in the light of what is kept: a name or a plan id that still belongs to another offering. */
export function catalogConflicts(known: readonly KnownOffering[], catalog: readonly CatalogOffering[]): string[] {
  const taken = catalog.filter((offering) =>
    known.some((each) => each.name === offering.name && each.catalogId !== offering.id && inUse(each) && !isKept(each, catalog)),
  )
  const names =
    taken.length > 0
      ? [
          `Service names must be unique within a broker. Services with names ${JSON.stringify(taken.map(({ name }) => name))} already exist`,
        ]
      : []
  const moved = catalog.flatMap((offering) =>
    offering.plans.flatMap((plan) =>
      known
        .filter((each) => each.catalogId !== offering.id)
        .flatMap((each) => each.plans.filter(({ catalogId }) => catalogId === plan.id).map((old) => ({ each, old })))
        .map(
          ({ each, old }) =>
            `Plan ids must be unique. Unable to register plan with id '${plan.id}' (plan name '${plan.name}', service name '${offering.name}') because it uses the same id as an existing plan (plan name '${old.name}', service name '${each.name}')`,
        ),
    ),
  )
  return [...names, ...moved]
}
const isKept = (offering: KnownOffering, catalog: readonly CatalogOffering[]): boolean =>
  catalog.some(({ id }) => id === offering.catalogId)

/** Plans one synchronisation; ids are the only identity, so the same id under another name is a rename. */
export function planCatalogChanges(known: readonly KnownOffering[], catalog: readonly CatalogOffering[]): CatalogChanges {
  const gone = known.filter((each) => !isKept(each, catalog))
  const left = known.flatMap((offering) => {
    const entry = catalog.find(({ id }) => id === offering.catalogId)
    const ids = new Set(entry?.plans.map(({ id }) => id))
    return offering.plans.filter(({ catalogId }) => !ids.has(catalogId)).map((plan) => ({ offering, plan }))
  })
  const deactivated = left.filter(({ plan }) => plan.hasInstances)
  return {
    offerings: catalog.map((entry) => {
      const old = known.find(({ catalogId }) => catalogId === entry.id)
      return {
        id: entry.id,
        guid: old?.guid,
        plans: entry.plans.map(({ id }) => ({ id, guid: old?.plans.find(({ catalogId }) => catalogId === id)?.guid })),
      }
    }),
    deactivatedOfferings: gone.filter(inUse).map(({ guid }) => guid),
    deletedOfferings: gone.filter((each) => !inUse(each)).map(({ guid }) => guid),
    deactivatedPlans: deactivated.map(({ plan }) => plan.guid),
    deletedPlans: left
      .filter(({ offering, plan }) => !plan.hasInstances && (isKept(offering, catalog) || inUse(offering)))
      .map(({ plan }) => plan.guid),
    deactivated: known
      .map((offering) => ({
        offering: offering.name,
        plans: deactivated.filter((each) => each.offering === offering).map(({ plan }) => plan.name),
      }))
      .filter(({ plans }) => plans.length > 0),
  }
}

/** What whoever synchronises is told of plans that are gone but in use; undefined where there are none. */
export function deactivationWarning(catalogUrl: string, deactivated: CatalogChanges['deactivated']): string | undefined {
  if (deactivated.length === 0) return undefined
  const list = deactivated.map(({ offering, plans }) => `Service Offering: ${offering}\nPlans deactivated: ${plans.join(', ')}`)
  return [
    `Warning: Service plans are missing from the broker's catalog (${catalogUrl}) but can not be removed from Cloud Foundry while instances exist. The plans have been deactivated to prevent users from attempting to provision new instances of these plans. The broker should continue to support bind, unbind, and delete for existing instances; if these operations fail contact your broker provider.`,
    ...list,
  ].join('\n\n')
}
