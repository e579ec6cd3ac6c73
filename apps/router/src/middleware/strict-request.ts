import type { RouterAnswer } from '../proxy/router-answer.js'
import { answerWith } from '../answers.js'
import { hostWithoutPort, type Exchange } from '../proxy/exchange.js'
import type { Step } from '../proxy/disposition.js'
import { LIMITS } from '../proxy/limits.js'
import { readFraming } from '../proxy/framing.js'
import { tokensOf } from '../proxy/raw-headers.js'
import { upgradeProtocol } from '../proxy/upgrade.js'

/**
 * Refuses what the parser lets through and endpoints might read differently, settles how the body is delimited, and brings the
 * other forms of a target into the ordinary one. `OPTIONS *` asks about the router itself.
 */
export const strictRequest: Step = (exchange) => {
  const { method, headers, httpVersion } = exchange
  if (headers.count('host') > 1) return answerWith('badRequest', exchange, 'More than one Host header')
  if (!exchange.framingIsStated && httpVersion !== '1.1' && httpVersion !== '1.0')
    return answerWith('badRequest', exchange, 'Unsupported HTTP version')
  if (method === 'CONNECT') return answerWith('badRequest', exchange, 'CONNECT is not supported')
  if (headers.size > LIMITS.maxFields || exchange.target.length > LIMITS.maxTargetBytes)
    return answerWith('headTooLarge', exchange)
  if (!exchange.framingIsStated) {
    const framing = readFraming(headers, httpVersion)
    if (framing.kind === 'refused') return answerWith('badRequest', exchange, framing.why)
    exchange.framing = framing.kind
  }
  const refusal = settleTarget(exchange)
  if (refusal !== undefined) return answerWith('badRequest', exchange, refusal)
  if (exchange.target === '*' && method === 'OPTIONS') return { do: 'answer', answer: OPTIONS_ANSWER }
  if (!exchange.target.startsWith('/')) return answerWith('badRequest', exchange, 'Malformed request target')
  if (exchange.host === '' || HOST_FAULT.test(exchange.host)) return answerWith('emptyHost', exchange)
  if (headers.has('upgrade')) exchange.upgrade = upgradeProtocol(exchange)
  if (headers.has('expect')) {
    const expected = tokensOf(headers, 'expect')
    exchange.expectsContinue = httpVersion !== '1.0' && exchange.hasBody && expected.includes('100-continue')
  }
  return undefined
}

const OPTIONS_ANSWER: RouterAnswer = {
  status: 200,
  reason: 'OK',
  headers: ['Content-Length', '0'],
  body: '',
  routerError: undefined,
  close: false,
}
/** What no host contains; such a name could mean another route to whoever reads it next. */
const HOST_FAULT = /[^\w.\-:[\]~!$&'()*+,;=%]/

/** An absolute target names the same host as the Host field, or nobody could say which one counts. */
function settleTarget(exchange: Exchange): string | undefined {
  if (exchange.target.startsWith('/')) return undefined
  const absolute = /^(https?):\/\/([^/?#]*)(.*)$/i.exec(exchange.target)
  if (!absolute) return undefined
  const [, scheme = '', authority = '', rest = ''] = absolute
  const plain = (host: string): string =>
    host.toLowerCase().replace(scheme.toLowerCase() === 'https' ? /:(443)?$/ : /:(80)?$/, '')
  if (exchange.headers.has('host') && plain(authority) !== plain(exchange.hostHeader))
    return 'The request target names another host than the Host header'
  exchange.hostHeader = authority
  exchange.host = hostWithoutPort(authority)
  exchange.target = rest.startsWith('/') ? rest : `/${rest}`
  exchange.headers.set('Host', authority)
  return undefined
}
