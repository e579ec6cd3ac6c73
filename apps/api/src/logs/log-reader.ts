/** What the API needs of the log store; packages/feeds has the client of it. */
export interface LogReader {
  /**
   * The log-cache answer for a source, passed on as it is: `{"envelopes":{"batch":[…]}}`. Query as the client sent it. One that
   * waits is answered when there is a line, with nothing after that time, and rejects when the signal ends it.
   */
  read(sourceId: string, query: URLSearchParams, waiting?: Waiting): Promise<unknown>
  /** Of the sources given, or of all. */
  meta(sourceIds?: readonly string[]): Promise<unknown>
  /** Newest metrics of each instance of an app; [] when the store is away. */
  metrics(sourceId: string): Promise<readonly InstanceUsage[]>
  forget(sourceId: string): Promise<void>
}
export interface Waiting {
  readonly waitMs: number
  readonly signal: AbortSignal
}
export interface InstanceUsage {
  readonly processGuid: string
  readonly instanceId: string
  readonly instanceGuid: string
  readonly timestamp: string
  readonly cpu: number
  readonly cpuEntitlement: number
  readonly memoryBytes: number
  readonly diskBytes: number
  readonly logRateBytes: number
}
