import { X509Certificate } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { NodeIdentity } from '@bloomery/contracts'
import { parseCommonName, PkiError, type NodeName } from './names.js'

const CERTIFICATE = 'node.crt'
const KEY = 'node.key'
const AUTHORITY = 'ca.crt'

/** Reads `node.crt`, `node.key` and `ca.crt` of a folder; undefined where there is no identity, or only part of one. */
export function loadNodeIdentity(dir: string): NodeIdentity | undefined {
  if (![CERTIFICATE, KEY, AUTHORITY].every((name) => existsSync(join(dir, name)))) return undefined
  const certificatePem = readFileSync(join(dir, CERTIFICATE), 'utf8')
  const privateKeyPem = readFileSync(join(dir, KEY), 'utf8')
  const authorityPem = readFileSync(join(dir, AUTHORITY), 'utf8')
  return { ...nameOfCertificate(certificatePem), certificatePem, privateKeyPem, authorityPem }
}

/** Writes the three files, each atomically and the certificate last; the folder and the key are readable by this user only. */
export function saveNodeIdentity(dir: string, identity: NodeIdentity): void {
  mkdirSync(dir, { recursive: true, mode: 0o700 })
  for (const [name, text] of [
    [AUTHORITY, identity.authorityPem],
    [KEY, identity.privateKeyPem],
    [CERTIFICATE, identity.certificatePem],
  ] as const) {
    writeFileSync(join(dir, `${name}.new`), text, { mode: 0o600 })
    renameSync(join(dir, `${name}.new`), join(dir, name))
  }
}

/** Role and id that a node certificate names. */
export function nameOfCertificate(certificatePem: string): NodeName {
  const { subject } = new X509Certificate(certificatePem)
  const commonName = /(?:^|\n)CN=(.*)$/m.exec(subject)?.[1] ?? ''
  const name = parseCommonName(commonName)
  if (!name) throw new PkiError(`The certificate of '${commonName}' is not a node certificate.`)
  return name
}

/** How long the certificate is still good for, in milliseconds; negative once it has expired. */
export function remainingLifetime(certificatePem: string, now = Date.now()): number {
  return Date.parse(new X509Certificate(certificatePem).validTo) - now
}

/** True in the last third of its life, when it is time to renew. */
export function isDueForRenewal(certificatePem: string, now = Date.now()): boolean {
  const { validFrom, validTo } = new X509Certificate(certificatePem)
  const [from, to] = [Date.parse(validFrom), Date.parse(validTo)]
  return now > to - (to - from) / 3
}
