import { acmeChallenge, type AcmeChallenge } from '../middleware/acme-challenge.js'
import { clientCertificate, type ClientCertificatePolicy } from '../middleware/client-certificate.js'
import { forwarded, type ForwardedProto } from '../middleware/forwarded.js'
import { healthCheck } from '../middleware/health-check.js'
import { hopByHop } from '../middleware/hop-by-hop.js'
import { lookup } from '../middleware/lookup.js'
import { platformHosts, type PlatformHostsDeps } from '../middleware/platform-hosts.js'
import { proxyToInstance, type ProxyToInstanceDeps } from '../middleware/proxy-to-instance.js'
import { requestId } from '../middleware/request-id.js'
import { requestStart } from '../middleware/request-start.js'
import { traceKey } from '../middleware/trace-key.js'
import { tracing, type Tracing } from '../middleware/tracing.js'
import { strictRequest } from '../middleware/strict-request.js'
import type { InstanceForwardingDeps } from '../forwarding/instance-forwarding.js'
import type { RouteTable } from '../table/route-table.js'
import { isReturning, routeServices, type RouteServicesDeps } from '../route-services/route-services.js'
import type { Exchange } from './exchange.js'
import { decideBy, type Disposition, type Step } from './disposition.js'
import { answerWith } from '../answers.js'

export interface PipelineDeps extends PlatformHostsDeps, ProxyToInstanceDeps {
  readonly table: RouteTable
  readonly isHealthy: () => boolean
  /** @default true */
  readonly unservedIs503?: boolean | undefined
  readonly acmeChallenges?: () => readonly AcmeChallenge[]
  readonly forwardedProto?: ForwardedProto
  readonly tracing?: { readonly kind: Tracing; readonly tenant: string }
  /** Clients that know the key learn who served them. */
  readonly traceKey?: { readonly key: string; readonly routerId: string } | undefined
  /** @default always_forward */
  readonly clientCertificates?: ClientCertificatePolicy
  /** Absent: requests for routes with a route service are refused. */
  readonly routeServices?: Omit<RouteServicesDeps, keyof InstanceForwardingDeps>
}

const refuseRouteServices: Step = (exchange) =>
  exchange.route?.routeServiceUrl === undefined ? undefined : answerWith('routeServiceUnsupported', exchange)

/** The way of a request, step by step, whichever data plane carries it. */
export const createPipeline = (deps: PipelineDeps): ((exchange: Exchange) => Disposition) => {
  const traced = tracing(deps.tracing?.kind ?? 'none', deps.tracing?.tenant ?? '')
  const { routeServices: services, clientCertificates: policy = 'always_forward' } = deps
  return decideBy([
    healthCheck(deps.isHealthy),
    strictRequest,
    ...(traced ? [traced] : []),
    requestId,
    hopByHop,
    forwarded(deps.forwardedProto),
    requestStart,
    ...(deps.traceKey ? [traceKey(deps.traceKey.key, deps.traceKey.routerId)] : []),
    ...(deps.acmeChallenges ? [acmeChallenge(deps.acmeChallenges)] : []),
    platformHosts(deps),
    lookup({
      find: (host, target) => deps.table.find(host, target),
      findKnown: (host, target) => deps.table.findKnown(host, target),
      unservedIs503: deps.unservedIs503,
    }),
    clientCertificate(policy, services ? isReturning({ ...services, table: deps.table }) : () => false),
    services ? routeServices({ ...services, ...deps }) : refuseRouteServices,
    proxyToInstance(deps),
  ])
}
