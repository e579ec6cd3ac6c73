import type { NodeIdentity } from '@bloomery/contracts'
import type { Logger } from '@bloomery/telemetry'
import { z } from 'zod'
import { followInternalApi } from '../internal-api.js'
import type { CertificateStore } from './certificate-store.js'

const Certificates = z.array(z.object({ names: z.array(z.string()), certificatePem: z.string(), privateKeyPem: z.string() }))

/** Domains and certificates of public authorities come and go while the platform runs. */
const REFRESH_MS = 60_000

export interface PlatformCertificatesOptions {
  /** https://host:port of the api's internal listener. */
  readonly url: string
  readonly identity: () => NodeIdentity
  /** Copy on disk, so that the router starts without the api. */
  readonly cacheFile: string
  readonly store: CertificateStore
  readonly log: Logger
}

/** Certificates that the platform keeps: of its own authority, the operator's, those of public authorities. */
export function followPlatformCertificates(options: PlatformCertificatesOptions): Promise<{ close(): void }> {
  const { store, log } = options
  let used = ''
  return followInternalApi({
    ...options,
    path: '/internal/ingress-certificates',
    schema: Certificates,
    refreshMs: REFRESH_MS,
    isMissing: () => store.isEmpty,
    use: (certificates) => {
      // Contexts are dear to make; most answers say what the last one did.
      const text = JSON.stringify(certificates)
      if (text === used) return
      used = text
      store.replace(certificates, (names, err) => log.error({ err, names }, 'a certificate of the platform cannot be used'))
    },
  })
}
