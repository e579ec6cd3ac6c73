import { availableParallelism } from 'node:os'
import { isAbsolute, resolve } from 'node:path'
import {
  apiHosts,
  ApiUpstreamEnv,
  ConfigError,
  Flag,
  ListenAddress,
  homePaths,
  LogsUrlEnv,
  NodeEnv,
  parseEnvironment,
  PlatformEnv,
  SchedulerUrlEnv,
  TenantAddressEnv,
  tenantAddressPolicy,
  tcpPortRanges,
} from '@bloomery/config'
import { portsOf, type TenantAddressPolicy } from '@bloomery/domain'
import { z } from 'zod'
import { CLIENT_CERTIFICATE_POLICIES, type ClientCertificatePolicy } from './middleware/client-certificate.js'
import { parseErrorTemplate, TemplateFault } from './error-pages/error-template.js'
import { FORWARDED_PROTOS, type ForwardedProto } from './middleware/forwarded.js'
import type { StickyPolicy } from './middleware/sticky-session.js'
import { TRACINGS, type Tracing } from './middleware/tracing.js'
import type { ListenerOptions } from './proxy/data-plane.js'
import { LIMITS, type Limits } from './proxy/limits.js'

/** More cost memory before they are needed: this many carry some ten thousand requests a second each. */
const MAX_DEFAULT_WORKERS = 8
/** It is handed to workers in their environment, which takes no more of one variable. */
const MAX_TEMPLATE_CHARACTERS = 30_000

function commaSeparated(text: string): string[] {
  return text
    .split(',')
    .map((each) => each.trim())
    .filter(Boolean)
}

const RouterEnv = PlatformEnv.extend({
  ...TenantAddressEnv.shape,
  ...NodeEnv.shape,
  ...SchedulerUrlEnv.shape,
  ...LogsUrlEnv.shape,
  ...ApiUpstreamEnv.shape,
  /** Folder of `<name>.crt` and `<name>.key` pairs, read again whenever they change; without it the platform's own certificates. */
  BLOOMERY_TLS_DIR: z.string().optional(),
  /** Comma-separated ids of the cells on this machine, whose instances are dialled at their own address. */
  BLOOMERY_LOCAL_CELLS: z.string().default('').transform(commaSeparated),
  /** As for the api: routers then answer for it while it orders certificates. */
  BLOOMERY_ACME_DIRECTORY_URL: z.url().optional(),
  /** Where Prometheus reads the router's metrics (/metrics), host:port; unset: nowhere. Beyond loopback it takes a password. */
  BLOOMERY_ROUTER_METRICS_LISTEN: ListenAddress.optional(),
  /** Password of the user `metrics`. */
  BLOOMERY_ROUTER_METRICS_PASSWORD: z.string().min(8).optional(),
  /** Whether the metrics tell of each app. */
  BLOOMERY_ROUTER_METRICS_PER_APP: Flag.default(false),
  /** Lowest version of TLS that clients may speak. */
  BLOOMERY_TLS_MIN_VERSION: z.enum(['1.2', '1.3']).default('1.2'),
  /** Whether clients are asked for a certificate, or must show one; BLOOMERY_CLIENT_CA_FILE says whose are believed. */
  BLOOMERY_CLIENT_CERTIFICATES: z.enum(['none', 'request', 'require']).default('none'),
  /** Authorities of clients' certificates, PEM. */
  BLOOMERY_CLIENT_CA: z.string().optional(),
  /** What becomes of X-Forwarded-Client-Cert: passed on, passed on from clients with a certificate, or set from the certificate. */
  BLOOMERY_FORWARDED_CLIENT_CERT: z.enum(CLIENT_CERTIFICATE_POLICIES).default('always_forward'),
  /** X-Forwarded-Proto: as a proxy in front says, by this router's listener, or always https. */
  BLOOMERY_FORWARDED_PROTO: z.enum(FORWARDED_PROTOS).default('keep'),
  /** Whether load balancers in front tell who the client is by the PROXY protocol, versions 1 and 2. */
  BLOOMERY_PROXY_PROTOCOL: Flag.default(false),
  /** Trace headers that requests carry on: none, b3, w3c or both. */
  BLOOMERY_TRACING: z.enum(TRACINGS).default('none'),
  /** This platform's name in `tracestate`. */
  BLOOMERY_TRACING_TENANT: z
    .string()
    .regex(/^[a-z][a-z0-9_*/-]{0,40}$/)
    .default('bloomery'),
  /** Requests with the field `X-Vcap-Trace` of this value learn from their answer which router and which instance served them. */
  BLOOMERY_ROUTER_TRACE_KEY: z.string().min(8).optional(),
  /** Whether route services are told to send requests back by https even where the client used http. */
  BLOOMERY_ROUTE_SERVICES_RECOMMEND_HTTPS: Flag.default(false),
  /** How long a route service may take to send a request back. */
  BLOOMERY_ROUTE_SERVICES_TIMEOUT_SECONDS: z.coerce.number().min(1).max(3600).default(60),
  /** Processes that carry traffic. Without it one for each processor that the router may use, eight at most. */
  BLOOMERY_ROUTER_WORKERS: z.coerce.number().int().min(1).max(64).optional(),
  /** Most connections of one client at one worker, each request under way on HTTP/2 counting like one; 0: as many as come. Clients are told apart by address, behind load balancers by the one that the PROXY protocol names. */
  BLOOMERY_ROUTER_MAX_CONNECTIONS_PER_CLIENT: z.coerce.number().int().min(0).default(20_000),
  /** How long a client may take to send a request's head. */
  BLOOMERY_ROUTER_HEAD_TIMEOUT_SECONDS: z.coerce.number().min(0.1).max(86_400).default(30),
  /** A request of whose body nothing came for this long, though the instance was ready to take it, is given up. */
  BLOOMERY_ROUTER_BODY_IDLE_TIMEOUT_SECONDS: z.coerce.number().min(0.1).max(86_400).default(120),
  /** How long a client's connection may be idle between requests. */
  BLOOMERY_ROUTER_CLIENT_IDLE_TIMEOUT_SECONDS: z.coerce.number().min(0.1).max(86_400).default(900),
  /** How long an instance may take to accept a connection. */
  BLOOMERY_ROUTER_DIAL_TIMEOUT_SECONDS: z.coerce.number().min(0.1).max(86_400).default(5),
  /** How long an instance may take from the request's end to the head of its answer. */
  BLOOMERY_ROUTER_RESPONSE_TIMEOUT_SECONDS: z.coerce.number().min(0.1).max(86_400).default(900),
  /** How long a connection to an instance is kept for the next request; 0: not at all. */
  BLOOMERY_ROUTER_INSTANCE_IDLE_TIMEOUT_SECONDS: z.coerce.number().min(0).max(86_400).default(90),
  /** Most idle connections to one instance that one worker keeps. */
  BLOOMERY_ROUTER_MAX_IDLE_CONNECTIONS_PER_INSTANCE: z.coerce.number().int().min(0).default(1_000),
  /** Largest head of a request or answer. */
  BLOOMERY_ROUTER_MAX_HEAD_KB: z.coerce.number().int().min(8).max(4096).default(1024),
  /** Most requests under way at one instance from one worker; 0: as many as come. */
  BLOOMERY_ROUTER_MAX_REQUESTS_PER_INSTANCE: z.coerce.number().int().min(0).default(500),
  /** The access log in $BLOOMERY_HOME/log/router-access.log begins anew at this size, keeping one before it; 0: no such file. */
  BLOOMERY_ROUTER_ACCESS_LOG_MB: z.coerce.number().int().min(0).default(100),
  /** Whether an address whose route has no instance now, though some are wanted, is answered with 503 (`no_endpoints`), or with 404 as if there were no route. */
  BLOOMERY_ROUTER_UNSERVED_503: Flag.default(true),
  /** HTML page for the router's own errors, in the notation of Go's html/template, like gorouter's `html_error_template`; without it a line of text. */
  BLOOMERY_ROUTER_ERROR_TEMPLATE: z.string().max(MAX_TEMPLATE_CHARACTERS).optional(),
  /** Comma-separated names of the cookies by which applications show that they keep a session; requests with one stay with their instance. */
  BLOOMERY_ROUTER_STICKY_COOKIES: z.string().default('JSESSIONID').transform(commaSeparated),
  /** Whether the cookie of sticky sessions is for TLS alone, whatever the application says of its own. */
  BLOOMERY_ROUTER_SECURE_COOKIES: Flag.default(false),
  /** Whether clients that are asked for `Negotiate` (SPNEGO, Kerberos) stay with the instance that asked, and reach no other in the meantime. */
  BLOOMERY_ROUTER_STICKY_NEGOTIATE: Flag.default(false),
  /** Zone of this router: a request's first attempt prefers instances on cells of the same zone. */
  BLOOMERY_ROUTER_ZONE: z.string().min(1).optional(),
  /** How long health answers 503 while new connections are still served, so that a load balancer in front looks elsewhere. */
  BLOOMERY_ROUTER_DRAIN_WAIT_SECONDS: z.coerce.number().min(0).max(600).default(0),
  /** How long requests under way may take once the listeners are closed. */
  BLOOMERY_ROUTER_DRAIN_TIMEOUT_SECONDS: z.coerce.number().min(0).max(3600).default(6),
})

/** What the router runs by; the same for its holder and its workers. */
export interface RouterConfig {
  readonly routerId: string
  readonly bind: string
  readonly httpPort: number
  readonly httpsPort: number
  /** Address at which TCP routes are served. */
  readonly tcpBind: string
  readonly tcpPorts: { readonly text: string; readonly ports: readonly number[] }
  readonly workers: number
  readonly balancing: { readonly maxInFlight: number; readonly zone: string | undefined }
  readonly sticky: StickyPolicy
  /** Whether 503 is answered for a route that no instance serves though some should. */
  readonly unservedIs503: boolean
  readonly routeServices: { readonly recommendHttps: boolean; readonly validMs: number; readonly addresses: TenantAddressPolicy }
  /** Size at which the access log's file begins anew; 0: no file. */
  readonly accessLogBytes: number
  readonly metrics:
    { readonly listen: ListenAddress; readonly password: string | undefined; readonly perApp: boolean } | undefined
  /** Whether the api orders certificates of a public authority. */
  readonly acme: boolean
  readonly listener: ListenerOptions
  readonly limits: Limits
  /** For the page of the router's own errors, as it was read; without one it is a line of text. */
  readonly errorTemplate: string | undefined
  readonly clientCertificates: ClientCertificatePolicy
  readonly forwardedProto: ForwardedProto
  readonly tracing: { readonly kind: Tracing; readonly tenant: string }
  readonly traceKey: string | undefined
  readonly drainWaitMs: number
  readonly drainTimeoutMs: number
  /** Hosts that the API answers for, lower case. */
  readonly platformHosts: readonly string[]
  /** http://host:port each. */
  readonly apiUpstreams: readonly string[]
  readonly schedulerUrl: string
  readonly logsUrl: string
  readonly joinUrl: string | undefined
  readonly nodeDir: string
  readonly tlsDir: string | undefined
  readonly localCells: readonly string[]
  readonly paths: {
    /** Route table and certificates. */
    readonly data: string
    /** Control sockets. */
    readonly run: string
    readonly logFile: string
    readonly accessLog: string
  }
}

/** Reads the environment; throws ConfigError with everything that is wrong. */
export function loadRouterConfig(environment: NodeJS.ProcessEnv): RouterConfig {
  const env = parseEnvironment(RouterEnv, environment)
  const home = homePaths(env.BLOOMERY_HOME)
  const upstreams = env.BLOOMERY_API_UPSTREAMS.map((text) => text.trim())
  if (upstreams.length === 0 || !upstreams.every((text) => /^http:\/\/[^/]+:\d+$/.test(text)))
    throw new ConfigError('Invalid configuration:\nBLOOMERY_API_UPSTREAMS must be a comma-separated list of http://host:port.')
  return {
    routerId: env.BLOOMERY_NODE_ID,
    bind: env.BLOOMERY_BIND,
    httpPort: env.BLOOMERY_HTTP_PORT,
    httpsPort: env.BLOOMERY_HTTPS_PORT,
    tcpBind: env.BLOOMERY_TCP_BIND ?? env.BLOOMERY_BIND,
    tcpPorts: { text: env.BLOOMERY_TCP_PORTS, ports: portsOf(tcpPortRanges(env)) },
    workers: env.BLOOMERY_ROUTER_WORKERS ?? Math.min(availableParallelism(), MAX_DEFAULT_WORKERS),
    balancing: { maxInFlight: env.BLOOMERY_ROUTER_MAX_REQUESTS_PER_INSTANCE, zone: env.BLOOMERY_ROUTER_ZONE },
    sticky: {
      sessionCookies: env.BLOOMERY_ROUTER_STICKY_COOKIES,
      alwaysSecure: env.BLOOMERY_ROUTER_SECURE_COOKIES,
      forNegotiate: env.BLOOMERY_ROUTER_STICKY_NEGOTIATE,
    },
    unservedIs503: env.BLOOMERY_ROUTER_UNSERVED_503,
    routeServices: {
      recommendHttps: env.BLOOMERY_ROUTE_SERVICES_RECOMMEND_HTTPS,
      validMs: env.BLOOMERY_ROUTE_SERVICES_TIMEOUT_SECONDS * 1000,
      addresses: tenantAddressPolicy(env),
    },
    accessLogBytes: env.BLOOMERY_ROUTER_ACCESS_LOG_MB * 1024 * 1024,
    metrics: metricsOptions(env),
    acme: env.BLOOMERY_ACME_DIRECTORY_URL !== undefined,
    listener: listenerOptions(env),
    limits: {
      ...LIMITS,
      maxConnectionsPerClient: env.BLOOMERY_ROUTER_MAX_CONNECTIONS_PER_CLIENT,
      headMs: env.BLOOMERY_ROUTER_HEAD_TIMEOUT_SECONDS * 1000,
      bodyIdleMs: env.BLOOMERY_ROUTER_BODY_IDLE_TIMEOUT_SECONDS * 1000,
      idleMs: env.BLOOMERY_ROUTER_CLIENT_IDLE_TIMEOUT_SECONDS * 1000,
      dialMs: env.BLOOMERY_ROUTER_DIAL_TIMEOUT_SECONDS * 1000,
      responseMs: env.BLOOMERY_ROUTER_RESPONSE_TIMEOUT_SECONDS * 1000,
      endpointIdleMs: env.BLOOMERY_ROUTER_INSTANCE_IDLE_TIMEOUT_SECONDS * 1000,
      maxIdlePerEndpoint: env.BLOOMERY_ROUTER_MAX_IDLE_CONNECTIONS_PER_INSTANCE,
      maxHeadBytes: env.BLOOMERY_ROUTER_MAX_HEAD_KB * 1024,
    },
    errorTemplate: understood(env.BLOOMERY_ROUTER_ERROR_TEMPLATE),
    clientCertificates: env.BLOOMERY_FORWARDED_CLIENT_CERT,
    forwardedProto: env.BLOOMERY_FORWARDED_PROTO,
    tracing: { kind: env.BLOOMERY_TRACING, tenant: env.BLOOMERY_TRACING_TENANT },
    traceKey: env.BLOOMERY_ROUTER_TRACE_KEY,
    drainWaitMs: env.BLOOMERY_ROUTER_DRAIN_WAIT_SECONDS * 1000,
    drainTimeoutMs: env.BLOOMERY_ROUTER_DRAIN_TIMEOUT_SECONDS * 1000,
    platformHosts: [...apiHosts(env), `console.${env.BLOOMERY_SYSTEM_DOMAIN}`].map((host) => host.toLowerCase()),
    apiUpstreams: upstreams,
    schedulerUrl: env.BLOOMERY_SCHEDULER_URL,
    logsUrl: env.BLOOMERY_LOGS_URL,
    joinUrl: env.BLOOMERY_JOIN_URL,
    nodeDir: absolute(env.BLOOMERY_NODE_DIR),
    tlsDir: env.BLOOMERY_TLS_DIR === undefined ? undefined : absolute(env.BLOOMERY_TLS_DIR),
    localCells: env.BLOOMERY_LOCAL_CELLS,
    paths: {
      data: absolute(home.router),
      run: resolve(home.run, 'router'),
      logFile: resolve(home.roleLogs, 'router-workers.log'),
      accessLog: resolve(home.roleLogs, 'router-access.log'),
    },
  }
}

function understood(template: string | undefined): string | undefined {
  try {
    if (template !== undefined) parseErrorTemplate(template)
    return template
  } catch (error) {
    if (!(error instanceof TemplateFault)) throw error
    throw new ConfigError(`Invalid configuration:\nBLOOMERY_ROUTER_ERROR_TEMPLATE (or …_FILE): ${error.message}.`)
  }
}

function metricsOptions(env: z.output<typeof RouterEnv>): RouterConfig['metrics'] {
  const listen = env.BLOOMERY_ROUTER_METRICS_LISTEN
  const password = env.BLOOMERY_ROUTER_METRICS_PASSWORD
  if (!listen) return undefined
  if (password === undefined && !/^(127\.|::1$|localhost$)/.test(listen.host))
    throw new ConfigError(
      'Invalid configuration:\nBLOOMERY_ROUTER_METRICS_LISTEN is no loopback address: set BLOOMERY_ROUTER_METRICS_PASSWORD (or …_FILE), or listen on 127.0.0.1.',
    )
  return { listen, password, perApp: env.BLOOMERY_ROUTER_METRICS_PER_APP }
}

function listenerOptions(env: z.output<typeof RouterEnv>): ListenerOptions {
  const asked = env.BLOOMERY_CLIENT_CERTIFICATES
  if (asked !== 'none' && env.BLOOMERY_CLIENT_CA === undefined)
    throw new ConfigError(
      'Invalid configuration:\nBLOOMERY_CLIENT_CA_FILE must name the authorities whose certificates clients may show, or set BLOOMERY_CLIENT_CERTIFICATES to none.',
    )
  return {
    minTlsVersion: env.BLOOMERY_TLS_MIN_VERSION === '1.3' ? 'TLSv1.3' : 'TLSv1.2',
    proxyProtocol: env.BLOOMERY_PROXY_PROTOCOL,
    ...(asked === 'none' || env.BLOOMERY_CLIENT_CA === undefined
      ? {}
      : { clientCertificates: { required: asked === 'require', ca: env.BLOOMERY_CLIENT_CA } }),
  }
}

const absolute = (path: string): string => (isAbsolute(path) ? path : resolve(path))
