import { z } from 'zod'

/**
 * Scheduler → router, over mutual TLS on the scheduler's internal listener (certificate common name `router:<id>`).
 *
 *   GET  /v1/routes/feed?worker=w0   → 200, application/x-ndjson, never ends: one snapshot (any number of `snapshot-part`s, which the
 *                                      `snapshot` completes), then `change`s and a `heartbeat` every 5 s
 *   POST /v1/routes/ack?worker=w0    RouteAck → 204
 *
 * A router has several worker processes with one certificate; each has a table of its own and acknowledges for itself, as the
 * router `<id>-<worker>`. Without `worker` the router is `<id>`.
 *
 * `epoch` is the publisher's lease token; a new epoch always starts with a snapshot, which the router applies as a diff.
 * Within an epoch revisions rise by one; on a gap the router reconnects.
 */
export const RouteEndpoint = z.object({
  instanceGuid: z.string(),
  appGuid: z.string(),
  appName: z.string(),
  spaceGuid: z.string(),
  organizationGuid: z.string(),
  processGuid: z.string(),
  processType: z.string(),
  index: z.number().int(),
  cellId: z.string(),
  /** host:port of the container itself; for a router on the machine of that cell. */
  localAddress: z.string(),
  /** host:port published by the cell, for every other router. */
  hostAddress: z.string(),
  /**
   * host:port at which the cell speaks TLS for its instances, for routers on other machines, which use nothing else where it is there. The
   * server name is `<port of the container>.<instanceGuid>`; the certificate is of the instances' authority and has the instance's guid as
   * DNS name; the router shows its node certificate.
   */
  tlsAddress: z.string().optional(),
  protocol: z.enum(['http1', 'http2', 'tcp']),
  /** Zone of the cell; absent: `default`. */
  zone: z.string().optional(),
  /** Of its destination, which stand together in the list: the share of requests that it and its siblings get, in percent. */
  weight: z.number().int().optional(),
})
export type RouteEndpoint = z.infer<typeof RouteEndpoint>

/**
 * A route with all its endpoints; replaced as a whole. Key: host + path, of TCP routes the port, and the host where option `sni` is set
 * (then it is for TLS connections that name that host).
 */
export const RouteEntry = z.object({
  routeGuid: z.string(),
  /** Lower case, no port; a leading `*.` label is a wildcard of any depth. */
  host: z.string(),
  /** "" or "/segment…", without a trailing slash. */
  path: z.string(),
  protocol: z.enum(['http', 'tcp']),
  port: z.number().int().optional(),
  options: z.record(z.string(), z.string()),
  /** https: requests pass through it before they reach an endpoint; absent while its binding is not complete. */
  routeServiceUrl: z.string().optional(),
  /** True: given by a global broker, so it may lead anywhere. Otherwise a tenant gave it: connect by `guardedConnect` of packages/egress. */
  routeServiceTrusted: z.boolean().optional(),
  /** True: no instance takes requests now, though some are wanted; routers say so (503) instead of denying the route (404). */
  unserved: z.boolean().optional(),
  endpoints: z.array(RouteEndpoint),
})
export type RouteEntry = z.infer<typeof RouteEntry>

export const RouteFeedMessage = z.discriminatedUnion('type', [
  z.object({ type: z.literal('snapshot-part'), epoch: z.string(), revision: z.number(), routes: z.array(RouteEntry) }),
  z.object({ type: z.literal('snapshot'), epoch: z.string(), revision: z.number(), routes: z.array(RouteEntry) }),
  z.object({
    type: z.literal('change'),
    epoch: z.string(),
    revision: z.number(),
    upsert: z.array(RouteEntry),
    remove: z.array(z.object({ routeGuid: z.string() })),
  }),
  z.object({ type: z.literal('heartbeat'), epoch: z.string(), revision: z.number() }),
])
export type RouteFeedMessage = z.infer<typeof RouteFeedMessage>
export const RouteAck = z.object({
  epoch: z.string(),
  revision: z.number(),
  /** Withdrawn instances that still answer requests through this worker; it acknowledges again when that has changed. */
  answering: z.array(z.string()).optional(),
})
export type RouteAck = z.infer<typeof RouteAck>

/**
 * Keys for X-CF-Proxy-Signature, from the api's internal listener: GET /internal/route-service-keys (`router` certificates) → RouteServiceKeys.
 * Routers ask once a minute and keep the last answer on disk (0600), since they serve without the api. The first key signs, all of
 * them verify. A new key is in this list for ten minutes before it comes first, and one that signs no more stays for a day, so that
 * whatever one router has signed every other can read, also while some have not asked yet.
 */
export const RouteServiceKeys = z.array(
  z.object({
    guid: z.string(),
    /** 32 random bytes in base64: the AES-256-GCM key itself, nothing to derive. */
    key: z.string(),
  }),
)
export type RouteServiceKeys = z.infer<typeof RouteServiceKeys>
