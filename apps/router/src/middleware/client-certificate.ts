import type { Exchange } from '../proxy/exchange.js'
import type { Step } from '../proxy/disposition.js'

/** What becomes of X-Forwarded-Client-Cert. */
export const CLIENT_CERTIFICATE_POLICIES = ['always_forward', 'forward', 'sanitize_set'] as const
export type ClientCertificatePolicy = (typeof CLIENT_CERTIFICATE_POLICIES)[number]

const FIELD = 'X-Forwarded-Client-Cert'

/**
 * `always_forward`: whatever the client says. `forward`: only over a connection on which it has shown a certificate itself (a proxy in
 * front). `sanitize_set`: the certificate of this connection, and nothing else. What comes back from a route service was settled before.
 */
export const clientCertificate =
  (policy: ClientCertificatePolicy, isReturning: (exchange: Exchange) => boolean): Step =>
  (exchange) => {
    if (policy === 'always_forward') return undefined
    const { headers, client } = exchange
    if (headers.has('x-cf-proxy-signature') && isReturning(exchange)) {
      if (policy === 'forward') headers.remove('x-forwarded-client-cert')
      return undefined
    }
    if (policy === 'sanitize_set') {
      headers.remove('x-forwarded-client-cert')
      if (client.certificate) headers.append(FIELD, client.certificate.toString('base64'))
    } else if (!client.certificate) headers.remove('x-forwarded-client-cert')
    return undefined
  }
