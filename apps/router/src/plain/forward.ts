import { setTimeout as delay } from 'node:timers/promises'
import { presentAnswer } from '../answers.js'
import { AttemptError } from '../failures.js'
import type { Forwarding } from '../proxy/forwarding.js'
import { RawHeaders } from '../proxy/raw-headers.js'
import { toClientHeaders } from '../proxy/response-headers.js'
import { attempt, ClientGoneError, type Answered } from './attempt.js'
import type { Connections } from './connections.js'
import { writeAnswer, type PlainCall } from './plain-call.js'
import { relayResponse } from './relay-response.js'
import { relayUpgrade } from './relay-upgrade.js'

/** Passes a request on by the forwarding's policy, and the answer back. */
export async function forward(plain: PlainCall, forwarding: Forwarding, connections: Connections): Promise<void> {
  const { exchange, request, response } = plain
  try {
    for (;;) {
      const step = forwarding.next()
      if (step.do === 'answer') return writeAnswer(plain, step.answer)
      if (step.do === 'wait') {
        await delay(step.forMs)
        continue
      }
      if (step.do === 'handle') {
        step.handler(exchange, request, response)
        if (!response.closed) await new Promise((resolve) => response.once('close', resolve))
        return
      }
      try {
        const answered = await attempt(plain, step.target, connections, step.fresh)
        return await relay(plain, forwarding, answered)
      } catch (error) {
        if (!(error instanceof AttemptError)) throw error
        forwarding.failed(error)
      }
    }
  } catch (error) {
    if (!(error instanceof ClientGoneError)) throw error
    exchange.outcome.status = 499
  } finally {
    forwarding.end()
  }
}

function relay(plain: PlainCall, forwarding: Forwarding, answered: Answered): Promise<void> {
  const { exchange } = plain
  if (answered.kind === 'upgrade') {
    if (plain.upgrade) {
      forwarding.switched()
      return relayUpgrade(plain, answered.incoming, answered.socket, answered.head)
    }
    answered.socket.destroy()
    const detail = 'the endpoint switched protocols without being asked'
    writeAnswer(plain, presentAnswer('endpointFailure', { host: exchange.hostHeader, detail }))
    return Promise.resolve()
  }
  const headers = RawHeaders.from(answered.incoming.rawHeaders)
  toClientHeaders(exchange, headers)
  forwarding.answered(headers)
  return relayResponse(plain, answered.call, answered.incoming, headers)
}
