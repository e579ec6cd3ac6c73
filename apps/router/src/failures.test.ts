import { describe, expect, it } from '@jest/globals'
import { classifyFailure, DIAL_TIMEOUT, RESPONSE_TIMEOUT, type FailureFacts } from './failures.js'

const facts = (phase: FailureFacts['phase'], code: string, replayable = true): FailureFacts => ({ phase, code, replayable })

describe('classifyFailure', () => {
  it.each<[string, FailureFacts, string, boolean, boolean]>([
    ['refused', facts('connecting', 'ECONNREFUSED', false), 'dial', true, true],
    ['no descriptor left here', facts('connecting', 'EMFILE', false), 'dial', true, false],
    ['no connection in time', facts('connecting', DIAL_TIMEOUT, false), 'dial-timeout', true, true],
    ['closed while idle', facts('reused-connection', 'ECONNRESET'), 'stale-connection', true, false],
    ['broken pipe on an idle connection', facts('reused-connection', 'EPIPE'), 'stale-connection', true, false],
    ['reset on an idle connection, not to be repeated', facts('reused-connection', 'ECONNRESET', false), 'reset', false, false],
    ['reset on a new connection', facts('fresh-connection', 'ECONNRESET'), 'reset', false, true],
    ['no answer', facts('fresh-connection', RESPONSE_TIMEOUT), 'no-response', false, false],
    ['an answer that is no HTTP', facts('fresh-connection', 'HPE_INVALID_CONSTANT'), 'bad-response', false, false],
    ['a certificate of somebody else', facts('connecting', 'ERR_TLS_CERT_ALTNAME_INVALID', false), 'tls-identity', true, true],
    ['a certificate of a stranger', facts('connecting', 'SELF_SIGNED_CERT_IN_CHAIN', false), 'tls-untrusted', true, true],
    ['no TLS there', facts('connecting', 'ERR_SSL_WRONG_VERSION_NUMBER', false), 'tls-handshake', true, true],
    [
      'our certificate refused, which TLS 1.3 tells after the handshake',
      facts('fresh-connection', 'ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED', false),
      'tls-client-certificate',
      true,
      true,
    ],
    [
      'TLS broken later',
      facts('fresh-connection', 'ERR_SSL_DECRYPTION_FAILED_OR_BAD_RECORD_MAC', false),
      'bad-response',
      false,
      false,
    ],
  ])('%s', (_name, input, kind, retriable, marksEndpoint) =>
    expect(classifyFailure(input)).toEqual({ kind, retriable, marksEndpoint }),
  )
})
