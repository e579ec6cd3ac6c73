import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { NodeIdentity, RouteServiceKeys } from '@bloomery/contracts'
import { createLogSender, followRouteFeed, type SpoolingLogSender } from '@bloomery/feeds'
import { loadNodeIdentity, PkiError } from '@bloomery/pki'
import type { Logger } from '@bloomery/telemetry'
import { AccessFile } from '../access-log/access-file.js'
import { recordExchange } from '../access-log/record-exchange.js'
import type { RouterConfig } from '../config.js'
import { errorPageOf } from '../error-pages/error-page.js'
import { ControlClient, ControlServer, type Ask } from '../holder/control-socket.js'
import { spawnWorker, WorkerSpec, type WorkerSockets } from '../holder/spawn-worker.js'
import type { WorkerStatus } from '../holder/worker-status.js'
import type { AcmeChallenge } from '../middleware/acme-challenge.js'
import { AcmeHandshakes } from '../tls/acme-handshakes.js'
import { poolKeyOf } from '../forwarding/instance-forwarding.js'
import { Http1DataPlane } from '../http1/http1-data-plane.js'
import type { DataPlane } from '../proxy/data-plane.js'
import { parseAddress } from '../proxy/forwarding.js'
import { createPipeline } from '../proxy/pipeline.js'
import { keepTableFile, readTableFile } from '../table/table-file.js'
import { RouteTable } from '../table/route-table.js'
import { Http2Clients } from '../http2/http2-clients.js'
import { Http2Endpoints } from '../http2/http2-endpoints.js'
import { RouterMetrics } from '../metrics/router-metrics.js'
import type { Exchange } from '../proxy/exchange.js'
import { ServiceCalls } from '../route-services/service-calls.js'
import { TcpRouter } from '../tcp/tcp-router.js'
import { InstanceTls } from '../tls/instance-tls.js'
import { CertificateStore } from '../tls/certificate-store.js'
import { followCertificateFolder } from '../tls/folder-certificates.js'
import { followPlatformCertificates } from '../tls/platform-certificates.js'
import { SessionTickets } from '../tls/session-tickets.js'
import { followPlatformFacts } from './platform-facts.js'

/** A worker that has no table yet, or an old one, gives the feed this long before it takes its share of connections. */
const FEED_PATIENCE_MS = 1_000
/** When the whole router stops, clients with idle connections lose them soon: there is nothing to go to anyway. */
const IDLE_GRACE_MS = 300

export interface WorkerOptions {
  readonly config: RouterConfig
  readonly slot: string
  readonly generation: string
  readonly sockets: WorkerSockets
  readonly log: Logger
}

/** One process that serves traffic. It needs neither its holder nor the scheduler, the log store or the api to go on. */
export interface Worker {
  /** Resolves once it has drained: by {@link Worker.drain} or on a word over its control socket. */
  readonly ended: Promise<void>
  drain(idleGraceMs?: number): Promise<void>
}

export async function startWorker(options: WorkerOptions): Promise<Worker> {
  const { config, slot, generation, log } = options
  const other = await ControlClient.connect(config.paths.run, `${slot}.sock`)
  if (other) {
    other.close()
    throw new Error(`another worker serves as ${slot} already`)
  }
  const identity = (): NodeIdentity => identityOf(config.nodeDir)
  const logs = openLogSender(options, identity)
  const table = new RouteTable()
  table.onWithdrawn((endpoint) => plane.forget(poolKeyOf(endpoint)))
  const tablePath = join(config.paths.data, 'table.json')
  const kept = await readTableFile(tablePath, log)
  if (kept) table.restore(kept)
  const file = keepTableFile(table, tablePath, log)
  const feed = followRouteFeed({
    url: config.schedulerUrl,
    worker: slot,
    identity,
    receiver: table,
    answering: () => table.openRequests.answering,
    log,
  })
  table.openRequests.onAnswered(() => feed.acknowledge())

  const errorPage = errorPageOf(config.errorTemplate)
  const services = new ServiceCalls(config.routeServices.addresses, undefined, errorPage)
  let routeServiceKeys: RouteServiceKeys = []
  let instanceAuthority: string | undefined
  const instanceTls = new InstanceTls({ identity, authority: () => instanceAuthority })
  let acmeChallenges: readonly AcmeChallenge[] = []
  const acmeHandshakes = new AcmeHandshakes(log)
  const facts = await followPlatformFacts(
    config,
    {
      onAcmeChallenges: (found) => {
        acmeChallenges = found
        acmeHandshakes.replace(found)
      },
      onRouteServiceKeys: (keys) => (routeServiceKeys = keys),
      onInstanceAuthority: (certificatePem) => (instanceAuthority = certificatePem),
    },
    identity,
    log,
  )
  const certificates = new CertificateStore(config.listener.clientCertificates?.ca)
  const following = await followCertificates(config, certificates, identity, log)
  const http2Endpoints = new Http2Endpoints(config.limits, instanceTls, errorPage)
  table.onWithdrawn((endpoint) => http2Endpoints.forget(poolKeyOf(endpoint)))
  const decide = createPipeline({
    table,
    hosts: new Set(config.platformHosts),
    upstreams: config.apiUpstreams.map((url) => ({ key: `api ${url}`, ...parseAddress(new URL(url).host) })),
    localCells: new Set(config.localCells),
    balancing: config.balancing,
    sticky: config.sticky,
    unservedIs503: config.unservedIs503,
    http2Endpoints,
    ...(config.acme ? { acmeChallenges: () => acmeChallenges } : {}),
    forwardedProto: config.forwardedProto,
    tracing: config.tracing,
    ...(config.traceKey === undefined ? {} : { traceKey: { key: config.traceKey, routerId: config.routerId } }),
    clientCertificates: config.clientCertificates,
    routeServices: {
      keys: () => routeServiceKeys,
      toService: (url, how) => services.to(url, how),
      recommendHttps: config.routeServices.recommendHttps,
      validMs: config.routeServices.validMs,
      now: () => new Date(),
    },
    isHealthy: () => !plane.isDraining,
  })
  const metrics = new RouterMetrics()
  const accessFile = openAccessFile(config, log)
  const logExchange = recordExchange({ sender: () => logs.current, file: accessFile })
  const record = (exchange: Exchange, finishedAt: number): void => {
    logExchange(exchange, finishedAt)
    metrics.record(exchange, finishedAt)
  }
  const http2 = new Http2Clients({ decide, record, limits: config.limits, instanceTls, errorPage, log })
  table.onWithdrawn((endpoint) => http2.forget(poolKeyOf(endpoint)))
  const plane: DataPlane = new Http1DataPlane({
    log,
    findCertificate: (name) => certificates.find(name),
    record,
    decide,
    http2,
    instanceTls,
    ...(config.acme ? { acmeHandshakes } : {}),
    listener: config.listener,
    limits: config.limits,
    errorPage,
  })
  certificates.onDefault((certificate) => plane.setDefaultCertificate(certificate))
  const tickets = SessionTickets.follow(join(config.paths.run, 'session-tickets'), (keys) => plane.setTicketKeys?.(keys), log)
  const deadline = Date.now() + FEED_PATIENCE_MS
  while (!feed.isCurrent && Date.now() < deadline) await delay(20)
  const tcp = new TcpRouter({
    table,
    instanceTls,
    localCells: new Set(config.localCells),
    onClosed: ({ endpoint }) => metrics.recordTcp(endpoint !== undefined),
    log,
  })
  await Promise.all([plane.listen(options.sockets), tcp.listen(options.sockets.tcp)])

  const status = (): WorkerStatus => ({
    slot,
    generation,
    pid: process.pid,
    listeners: {
      bind: config.bind,
      httpPort: config.httpPort,
      httpsPort: config.httpsPort,
      tcpPorts: config.tcpPorts.text,
    },
    routes: table.size,
    feedCurrent: feed.isCurrent,
  })
  let draining: Promise<void> | undefined
  let finish: () => void = () => undefined
  const ended = new Promise<void>((resolve) => (finish = resolve))
  const drain = (idleGraceMs = IDLE_GRACE_MS): Promise<void> => {
    draining ??= (async () => {
      log.info('draining')
      control.release()
      plane.announceDrain()
      await delay(config.drainWaitMs)
      feed.close()
      await Promise.all([plane.close(config.drainTimeoutMs, idleGraceMs), tcp.close(config.drainTimeoutMs)])
      following.close()
      tickets.close()
      facts.close()
      services.close()
      http2Endpoints.close()
      await Promise.all([file.close(), logs.current.close(), accessFile?.close()])
      control.close()
      log.info('drained')
      finish()
    })()
    return draining
  }
  const control: ControlServer = await ControlServer.listen(config.paths.run, `${slot}.sock`, async (ask: Ask) => {
    switch (ask.do) {
      case 'status':
        return status()
      case 'spawn':
        return { pid: spawnWorker(WorkerSpec.parse(ask['spec']), options.sockets) }
      case 'figures':
        return metrics.figures({
          open_connections: plane.openConnections + http2.openConnections,
          open_tcp_connections: tcp.open,
          total_routes: table.size,
          total_tcp_routes: table.tcpRoutes().length,
          ms_since_last_registry_update: feed.lastHeardAt === undefined ? -1 : Date.now() - feed.lastHeardAt,
          file_descriptors: openDescriptors(),
          uptime: Math.floor(process.uptime()),
        })
      case 'release':
        // A successor takes the slot's name and its spool; this worker serves until it is told to drain.
        control.release()
        await logs.leaveSpool()
        return {}
      case 'drain':
        void drain(typeof ask['idleGraceMs'] === 'number' ? ask['idleGraceMs'] : undefined)
        return {}
      default:
        throw new Error(`unknown question '${ask.do}'`)
    }
  })
  log.info({ ...status() }, 'worker serves')
  return { ended, drain }
}

/** Read at each use, since certificates are renewed while workers run. */
function identityOf(dir: string): NodeIdentity {
  const identity = loadNodeIdentity(dir)
  if (!identity) throw new PkiError(`There is no certificate in ${dir} yet.`)
  return identity
}

/** Without the file requests are served all the same. */
function openAccessFile({ accessLogBytes, paths }: RouterConfig, log: Logger): AccessFile | undefined {
  if (accessLogBytes === 0) return undefined
  try {
    return new AccessFile(paths.accessLog, accessLogBytes, log)
  } catch (error) {
    log.error({ err: error, path: paths.accessLog }, 'the access log cannot be opened')
    return undefined
  }
}

interface LogSenderHolder {
  readonly current: SpoolingLogSender
  /** Goes on without the folder, which a successor may use from then on. */
  leaveSpool(): Promise<void>
}

function openLogSender({ config, slot, log }: WorkerOptions, identity: () => NodeIdentity): LogSenderHolder {
  const shared = { logsUrl: config.logsUrl, identity, logger: log }
  const sender = `router:${config.routerId}/${slot}`
  let current = createLogSender({ ...shared, sender, spoolDir: join(config.paths.data, 'log-spool', slot) })
  return {
    get current() {
      return current
    },
    leaveSpool: async () => {
      const spooling = current
      current = createLogSender({ ...shared, sender: `${sender}/${process.pid}` })
      await spooling.close()
    },
  }
}

/** -1 where the system does not tell. */
function openDescriptors(): number {
  try {
    return readdirSync('/proc/self/fd').length
  } catch {
    return -1
  }
}

async function followCertificates(
  config: RouterConfig,
  store: CertificateStore,
  identity: () => NodeIdentity,
  log: Logger,
): Promise<{ close(): void }> {
  if (config.tlsDir !== undefined) return followCertificateFolder(config.tlsDir, store, log)
  if (config.joinUrl === undefined) {
    log.warn('no certificates for HTTPS: set BLOOMERY_TLS_DIR or BLOOMERY_JOIN_URL')
    return { close: () => undefined }
  }
  const cacheFile = join(config.paths.data, 'ingress-certificates.json')
  return followPlatformCertificates({ url: config.joinUrl, identity, cacheFile, store, log })
}
