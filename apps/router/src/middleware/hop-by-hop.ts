import type { Step } from '../proxy/disposition.js'
import { removeHopByHop } from '../proxy/hop-by-hop-headers.js'

/** Methods for which a request without any framing still states that its body is empty. */
const USUALLY_WITH_BODY = new Set(['POST', 'PUT', 'PATCH'])

/** Drops the fields that concern the client's connection alone and states the framing towards the endpoint. */
export const hopByHop: Step = ({ headers, method, framing, upgrade }) => {
  const chunked = framing === 'chunked' || framing === 'stream'
  const wantsTrailers = headers.has('te') && /(^|,)\s*trailers\s*(,|;|$)/i.test(headers.getAll('te').join(','))
  removeHopByHop(headers, { keepTrailer: chunked })
  if (wantsTrailers) headers.append('TE', 'trailers')
  if (chunked) headers.append('Transfer-Encoding', 'chunked')
  else if (framing === 'none' && USUALLY_WITH_BODY.has(method) && !headers.has('content-length'))
    headers.append('Content-Length', '0')
  if (upgrade !== undefined) {
    headers.append('Connection', 'Upgrade')
    headers.append('Upgrade', upgrade)
  }
  return undefined
}
