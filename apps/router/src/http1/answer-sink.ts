import type { Exchange } from '../proxy/exchange.js'
import type { RouterAnswer } from '../proxy/router-answer.js'
import type { Outgoing } from './outgoing.js'

/** The client's side of a connection as a relay needs it. */
export interface AnswerSink {
  readonly out: Outgoing
  /** The connection ends after the present answer. */
  closeAfter: boolean
  /** Whether the present request has been read to its end. */
  readonly requestIsComplete: boolean
  /** The endpoint is slow: the client has to wait with its body. */
  pauseBody(): void
  resumeBody(): void
  /** Sends an answer of the router's own. */
  writeAnswer(exchange: Exchange, answer: RouterAnswer): void
  /** The line that tells the client whether the connection stays; it is final from then on. */
  connectionLine(exchange: Exchange): string
  /** The answer is out: the next request's turn, or the end. */
  finish(): void
  /** From here on the connection carries no HTTP any more. */
  switchToRaw(): void
  /** Ends this side of a switched connection. */
  endRaw(): void
  destroy(): void
}
