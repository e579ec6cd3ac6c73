import { existsSync } from 'node:fs'
import type { Mount } from './engine.js'

const FOLDER = '/etc/ssl/certs'
const BUNDLE = `${FOLDER}/ca-certificates.crt`

/** Lets programs inside trust what this machine trusts, such as a company's own authority. Nothing where the machine has no bundle. */
export function hostTrust(enabled: boolean): { mounts: Mount[]; environment: Record<string, string> } {
  if (!enabled || !existsSync(BUNDLE)) return { mounts: [], environment: {} }
  const names = ['NODE_EXTRA_CA_CERTS', 'SSL_CERT_FILE', 'PIP_CERT', 'REQUESTS_CA_BUNDLE', 'CURL_CA_BUNDLE', 'GIT_SSL_CAINFO']
  return {
    mounts: [{ source: FOLDER, target: FOLDER, readOnly: true }],
    environment: Object.fromEntries(names.map((name) => [name, BUNDLE])),
  }
}
