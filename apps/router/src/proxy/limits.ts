/** Limits of what clients and endpoints may send, by default. Those of a head are Cloud Foundry's where it has one. */
export const LIMITS = {
  /** Bytes of a head, all lines together. */
  maxHeadBytes: 1024 * 1024,
  maxTargetBytes: 128 * 1024,
  /** What a sender on HTTP/2 may have under way in one body before it is taken; with less, each round trip would count. */
  streamWindowBytes: 256 * 1024,
  /** Fields of a head. */
  maxFields: 2_000,
  /** A head must be there after this long, however slowly it trickles. */
  headMs: 30_000,
  /** A body of which nothing came for this long, though the endpoint was ready to take it, is given up. */
  bodyIdleMs: 120_000,
  /** Idle connections of clients. */
  idleMs: 900_000,
  dialMs: 5_000,
  /** From the request's end to the head of the answer. */
  responseMs: 900_000,
  /** A client that waits for `100 Continue` gets it after this long even if the endpoint is silent about it. */
  continueMs: 1_000,
  /** How long the rest of an unwanted request body is read, so that the client can see the answer before the connection ends. */
  lingerMs: 5_000,
  /** Open connections of one address to one worker, each request under way on HTTP/2 counting like one; 0: as many as come. */
  maxConnectionsPerClient: 20_000,
  /** Idle connections to endpoints: of one, and for how long. */
  maxIdlePerEndpoint: 1_000,
  endpointIdleMs: 90_000,
} as const

/** Limits that an operator has settled otherwise. */
export type Limits = { readonly [Name in keyof typeof LIMITS]: number }
