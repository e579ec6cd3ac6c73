import { printBytes, type HealthCheckSettings } from '@bloomery/domain'
import type { App, CredentialBinding, Domain, Process, Route, RouteDestination, ServiceInstance } from '@bloomery/database'
import { maskCredentials } from '../apps/presenter.js'
import { routeUrl } from '../routes/presenter.js'

export type AppWithParts = App & {
  processes: Process[]
  destinations: (RouteDestination & { route: Route & { domain: Domain } })[]
  bindings: (CredentialBinding & { serviceInstance: ServiceInstance })[]
}
/** What a manifest of an app is made of. */
export const MANIFEST_PARTS = {
  processes: { orderBy: { createdAt: 'asc' } },
  destinations: {
    where: { processType: 'web' },
    include: { route: { include: { domain: true } } },
    orderBy: { createdAt: 'asc' },
  },
  bindings: { where: { type: 'app' }, include: { serviceInstance: true }, orderBy: { createdAt: 'asc' } },
} as const

type Entries = Record<string, unknown>
const isFilled = (value: unknown): boolean =>
  value !== undefined && value !== null && !(typeof value === 'object' && Object.keys(value).length === 0)
const filled = (entries: Entries): Entries => Object.fromEntries(Object.entries(entries).filter(([, value]) => isFilled(value)))

/** One application as the manifest that would make it. */
export function presentAppManifest(app: AppWithParts, variables: Readonly<Record<string, string>>): Entries {
  // While a deployment runs there are two rows of one type; the newest is what the app is becoming.
  const processes = [...new Map(app.processes.map((each) => [each.type, each])).values()]
  return filled({
    name: app.name,
    stack: app.stack,
    buildpacks: app.buildpacks.map(maskCredentials),
    env: variables,
    routes: app.destinations.map(({ route, protocol }) => ({
      route: routeUrl(route, route.domain),
      protocol: protocol ?? 'http1',
      ...filled({ options: route.options }),
    })),
    services: app.bindings.map(({ name, serviceInstance }) =>
      name === null ? serviceInstance.name : { name: serviceInstance.name, binding_name: name },
    ),
    metadata: filled({ labels: app.labels, annotations: app.annotations }),
    features: {
      ssh: app.sshEnabled,
      revisions: app.revisionsEnabled,
      'service-binding-k8s': app.serviceBindingK8s,
      'file-based-vcap-services': app.fileBasedVcapServices,
    },
    processes: processes.map(presentProcess),
  })
}

function presentProcess(process: Process): Entries {
  const health = process.healthCheck as unknown as HealthCheckSettings
  const readiness = process.readinessHealthCheck as unknown as HealthCheckSettings
  const logRate = Number(process.logRateLimit)
  return filled({
    type: process.type,
    command: process.command,
    instances: process.instances,
    memory: `${process.memoryMb}M`,
    disk_quota: `${process.diskMb}M`,
    'log-rate-limit-per-second': logRate > 0 ? printBytes(logRate) : logRate,
    'health-check-type': health.type,
    'health-check-http-endpoint': health.endpoint,
    'health-check-invocation-timeout': health.invocationTimeout,
    'health-check-interval': health.interval,
    timeout: health.timeout,
    'readiness-health-check-type': readiness.type,
    'readiness-health-check-http-endpoint': readiness.endpoint,
    'readiness-health-check-invocation-timeout': readiness.invocationTimeout,
    'readiness-health-check-interval': readiness.interval,
  })
}
