import type { Logger } from '@bloomery/telemetry'
import { accessLog } from '../middleware/access-log.js'
import { forwarded } from '../middleware/forwarded.js'
import { guardPanic } from '../middleware/guard-panic.js'
import { healthCheck } from '../middleware/health-check.js'
import { hopByHop } from '../middleware/hop-by-hop.js'
import { lookup } from '../middleware/lookup.js'
import { platformHosts, type PlatformHostsDeps } from '../middleware/platform-hosts.js'
import { proxyToInstance, type ProxyDeps } from '../middleware/proxy-to-instance.js'
import { requestId } from '../middleware/request-id.js'
import { requestStart } from '../middleware/request-start.js'
import { strictRequest } from '../middleware/strict-request.js'
import type { RouteTable } from '../table/route-table.js'
import { compose, type Exchange } from './exchange.js'

export interface PipelineDeps extends PlatformHostsDeps, ProxyDeps {
  readonly table: RouteTable
  readonly isHealthy: () => boolean
  readonly record: (exchange: Exchange, finishedAt: number) => void
  readonly log: Logger
}

/** The way of a request, step by step. */
export const createPipeline = (deps: PipelineDeps): ((exchange: Exchange) => Promise<void>) =>
  compose([
    accessLog(deps.record),
    guardPanic(deps.log),
    healthCheck(deps.isHealthy),
    strictRequest,
    requestId,
    hopByHop,
    forwarded,
    requestStart,
    platformHosts(deps),
    lookup((host, target) => deps.table.find(host, target)),
    proxyToInstance(deps),
  ])
