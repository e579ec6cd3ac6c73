/** An answer of the router's own, whole. */
export interface RouterAnswer {
  readonly status: number
  readonly reason: string
  /** Names and values in turn, the body's length among them. */
  readonly headers: readonly string[]
  readonly body: string
  /** What it tells, where that is shown to people; absent: no body, or one for programs. */
  readonly message?: string
  /** Value of X-Cf-RouterError; absent for what is no error. */
  readonly routerError: string | undefined
  /** The connection ends with it. */
  readonly close: boolean
}
