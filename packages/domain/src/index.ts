export { normalizePath, RouteIndex, type IndexedRoute } from './routing/route-index.js'
export { coversPorts, includesPort, parsePortRanges, pickPort, portsOf, type PortRange } from './routing/port-ranges.js'
export {
  explainRoute,
  hostCandidates,
  parseRequestAddress,
  type ExplainedDestination,
  type RequestAddress,
} from './routing/explain-route.js'
export { diffRoutes, type RouteDiff } from './routing/route-diff.js'
export {
  areAllFull,
  BALANCING,
  balancingOf,
  chooseEndpoint,
  chooseStickyEndpoint,
  type Balancing,
  type DestinationSlice,
  type EndpointChoice,
  type EndpointStates,
} from './routing/choose-endpoint.js'
export { destinationSlices } from './routing/destination-slices.js'
export { chooseByHash, maglevTable, type HashChoice, type MaglevTable } from './routing/hash-routing.js'
export { isPinned, parseInstancePin, type InstancePin } from './routing/instance-pin.js'
export { groupBy } from './collections/group-by.js'
export {
  allowsTransition,
  instanceKeyText,
  isOnCell,
  isRoutable,
  isStoppingOnCell,
  occupiesCell,
  type ActualInstance,
  type InstanceKey,
  type InstanceState,
  type Presence,
  type StopPhase,
} from './instances/instance.js'
export {
  CRASH_POLICY,
  crashBackoffMs,
  crashOutcome,
  isRestartDue,
  nextCrashCount,
  type CrashOutcome,
} from './instances/crash-policy.js'
export { cpuWeight } from './instances/cpu-weight.js'
export { CELL_LOSS_LIMITS, viewCells, type CellLossLimits, type CellPresence, type CellView } from './convergence/cell-loss.js'
export {
  planConvergence,
  type ConvergenceAction,
  type ConvergenceWorld,
  type DesiredProcess,
} from './convergence/plan-convergence.js'
export {
  reconcileReport,
  type AppliedWish,
  type ReportAction,
  type ReportedInstance,
  type ReportWorld,
} from './reports/reconcile-report.js'
export {
  planPlacement,
  type Placement,
  type PlacementCell,
  type PlacementConstraint,
  type PlacementFailure,
  type PlacementOptions,
  type PlacementPlan,
  type PlacementRequest,
} from './placement/plan-placement.js'
export {
  DEPLOYMENT_LIMITS,
  planDeployment,
  type DeployingInstance,
  type DeploymentScale,
  type DeploymentStep,
  type DeploymentWorld,
} from './deployments/plan-deployment.js'
export {
  EMPTY_USAGE,
  processViolations,
  quotaViolations,
  usageOfProcesses,
  type CountedProcess,
  type QuotaLimits,
  type QuotaScope,
  type QuotaUsage,
  type QuotaViolation,
} from './quotas/quota.js'
export { isStaleLease, planCell, type CellPlan, type HeldByCell, type WantedOfCell } from './cell/plan-cell.js'
export { goDuration } from './cell/go-duration.js'
export { entitledCores } from './cell/cpu-entitlement.js'
export { FILE_DESCRIPTORS, vcapApplication, type AppIdentity, type VcapApplicationUse } from './environment/vcap-application.js'
export {
  BINDING_FILES_FOLDER,
  bindingDelivery,
  bindingFiles,
  bindingVariables,
  type BindingDelivery,
} from './environment/binding-files.js'
export { databaseUrl, vcapServices, type BoundService } from './environment/vcap-services.js'
export { runningEnvironment, stagingEnvironment, type Variables } from './environment/environments.js'
export { MAX_VARIABLE_BYTES, mergeVariables, variableFaults } from './environment/variable-rules.js'
export {
  changeHealthCheck,
  defaultHealthCheck,
  MAX_STARTUP_SECONDS,
  type HealthCheckChange,
  type HealthCheckSettings,
} from './apps/health-check.js'
export { parseBytes, printBytes, toMebibytes, type ByteFault, type ParsedBytes } from './manifests/byte-units.js'
export { diffManifest, type ManifestDifference } from './manifests/diff-manifest.js'
export { matchRouteAddress, type RouteParts } from './manifests/match-domain.js'
export { parseManifest } from './manifests/parse-manifest.js'
export type {
  AppManifest,
  ManifestMetadata,
  ManifestProcess,
  ManifestRoute,
  ManifestService,
  ParsedManifest,
} from './manifests/manifest.js'
export { shownInstances, type SeenRow, type ShownInstance, type ShownState } from './instances/seen-instances.js'
export { isBuildpackAddress } from './apps/buildpack-address.js'
export { isInNetwork, parseIpAddress, parseIpNetwork, type IpAddress, type IpNetwork } from './addresses/ip-address.js'
export {
  parseAllowedDestination,
  refuseTenantAddress,
  type AllowedDestination,
  type RefusedAddress,
  type TenantAddressPolicy,
} from './addresses/tenant-address.js'
export { versionKey } from './staging/version-key.js'
export { parseVersionRange, VersionRangeError, type VersionSpan } from './staging/version-range.js'
export { explainFailure, type FailureExplanation, type StagingEnd, type StagingLimits } from './staging/explain-failure.js'
export { type FileSystem, isMachineFull, untilNextLookMs } from './staging/machine-disk.js'
export { type FailureCause } from './staging/failure-cause.js'
export {
  planStaging,
  type RunningBuild,
  type StagingCapacity,
  type StagingPlan,
  type WaitingBuild,
} from './staging/plan-staging.js'
export {
  catalogConflicts,
  deactivationWarning,
  planCatalogChanges,
  type CatalogChanges,
  type CatalogOffering,
  type KnownOffering,
} from './services/catalog-sync.js'
export { mayStart, type PendingOperation } from './services/concurrent-operations.js'
export {
  isUpgradeAvailable,
  planInstanceUpdate,
  type UpdatablePlan,
  type UpdatePlan,
  type UpdateRefusal,
} from './services/instance-update.js'
export {
  afterAnswer,
  afterDeadline,
  afterLostUpdate,
  afterPoll,
  deadlineMessage,
  type NextStep,
} from './services/operation-steps.js'
export { endsMitigation, nextMitigationAt } from './services/orphan-mitigation.js'
export { initialVisibility, isPlanUsableIn, type PlanVisibility } from './services/plan-visibility.js'
export { nextPollAt, pollingDeadline, type PollingRules } from './services/polling.js'
