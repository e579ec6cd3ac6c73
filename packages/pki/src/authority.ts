import { X509Certificate } from 'node:crypto'
import type { PublicKey } from '@peculiar/x509'
import type { NodeIdentity } from '@bloomery/contracts'
import { serverNameOf } from '@bloomery/contracts'
import { commonNameOf, PkiError, type NodeName } from './names.js'
import { exportPrivateKey, generateKeys, importPrivateKey, KEY_ALGORITHM, loadX509, newSerialNumber, validity } from './x509.js'

/** A certificate authority with its key. The key is kept encrypted in the database and is used by one role. */
export interface CertificateAuthority {
  readonly certificatePem: string
  readonly privateKeyPem: string
}
export interface ServerCertificate {
  readonly certificatePem: string
  readonly privateKeyPem: string
}

const AUTHORITY_DAYS = 3_650
const NODE_DAYS = 90
const INSTANCE_DAYS = 1
// Browsers refuse server certificates that live longer than 398 days.
const SERVER_DAYS = 397

/** Makes a self-signed authority (ECDSA P-256). `name` is what people read in a certificate viewer. */
export async function createAuthority(
  options: { readonly name?: string; readonly days?: number } = {},
): Promise<CertificateAuthority> {
  const x509 = await loadX509()
  const keys = await generateKeys()
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: newSerialNumber(),
    name: [{ O: ['Bloomery'] }, { CN: [options.name ?? 'Bloomery internal authority'] }],
    ...validity(options.days ?? AUTHORITY_DAYS),
    signingAlgorithm: KEY_ALGORITHM,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  })
  return { certificatePem: asPem(certificate.toString('pem')), privateKeyPem: await exportPrivateKey(keys.privateKey) }
}

/** Makes a node's key and the request for its certificate. The key never leaves the node. */
export async function createNodeKeyAndCsr(node: NodeName): Promise<{ privateKeyPem: string; csrPem: string }> {
  const x509 = await loadX509()
  const keys = await generateKeys()
  const csr = await x509.Pkcs10CertificateRequestGenerator.create({
    name: [{ CN: [commonNameOf(node)] }],
    keys,
    signingAlgorithm: KEY_ALGORITHM,
  })
  return { privateKeyPem: await exportPrivateKey(keys.privateKey), csrPem: asPem(csr.toString('pem')) }
}

/**
 * Issues a node certificate for the request's public key. Of the request nothing else is taken: name, role and extensions
 * are the issuer's to decide. `days` defaults to 90.
 */
export async function issueNodeCertificate(
  authority: CertificateAuthority,
  csrPem: string,
  node: NodeName & { readonly days?: number },
): Promise<string> {
  const x509 = await loadX509()
  const request = parseRequest(x509, csrPem)
  if (!(await request.verify().catch(() => false)))
    throw new PkiError('The certificate request is not signed by its own key; make a new one.')
  return issue(authority, {
    commonName: commonNameOf(node),
    publicKey: request.publicKey,
    days: node.days ?? NODE_DAYS,
    names: [{ type: 'dns', value: serverNameOf(node.role) }],
    usages: [x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth],
  })
}

/** Key, request and certificate at once, for the role that holds the authority (and for tests). */
export async function issueNodeIdentity(
  authority: CertificateAuthority,
  node: NodeName & { readonly days?: number },
): Promise<NodeIdentity> {
  const { privateKeyPem, csrPem } = await createNodeKeyAndCsr(node)
  const certificatePem = await issueNodeCertificate(authority, csrPem, node)
  return { role: node.role, nodeId: node.nodeId, certificatePem, privateKeyPem, authorityPem: authority.certificatePem }
}

/** Issues a certificate for a public listener. `names` are DNS names (wildcards allowed) and IP addresses. */
export async function issueServerCertificate(
  authority: CertificateAuthority,
  names: readonly string[],
  options: { readonly days?: number } = {},
): Promise<ServerCertificate> {
  const x509 = await loadX509()
  const [first] = names
  if (first === undefined) throw new PkiError('A server certificate needs at least one name.')
  const keys = await generateKeys()
  const certificatePem = await issue(authority, {
    commonName: first,
    publicKey: keys.publicKey,
    days: options.days ?? SERVER_DAYS,
    names: names.map((value) => ({ type: /^[\d.]+$|:/.test(value) ? 'ip' : 'dns', value })),
    usages: [x509.ExtendedKeyUsage.serverAuth],
  })
  return { certificatePem, privateKeyPem: await exportPrivateKey(keys.privateKey) }
}

/**
 * Issues an instance's certificate for the request's public key: its guid as common name and DNS name, what it belongs to as organizational
 * units (`app:…`, `space:…`, `organization:…`), as Cloud Foundry has it. `days` defaults to 1.
 */
export async function issueInstanceCertificate(
  authority: CertificateAuthority,
  csrPem: string,
  instance: {
    readonly instanceGuid: string
    readonly units: readonly string[]
    readonly addresses?: readonly string[]
    readonly days?: number
  },
): Promise<string> {
  const x509 = await loadX509()
  const request = parseRequest(x509, csrPem)
  if (!(await request.verify().catch(() => false)))
    throw new PkiError('The certificate request is not signed by its own key; make a new one.')
  return issue(authority, {
    commonName: instance.instanceGuid,
    units: instance.units,
    publicKey: request.publicKey,
    days: instance.days ?? INSTANCE_DAYS,
    names: [
      { type: 'dns', value: instance.instanceGuid },
      ...(instance.addresses ?? []).map((value) => ({ type: 'ip' as const, value })),
    ],
    usages: [x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth],
  })
}

/** Names of the certificate that the routers present for the API, the console and apps on the default domains. */
export function ingressNames(domains: { readonly system: string; readonly apps: string }): string[] {
  const { system, apps } = domains
  return [...new Set([system, `*.${system}`, apps, `*.${apps}`, 'localhost', '127.0.0.1', '::1'])]
}

/** SHA-256 of the certificate, lower-case hex: what a join token pins. */
export function fingerprintOf(certificatePem: string): string {
  return new X509Certificate(certificatePem).fingerprint256.replaceAll(':', '').toLowerCase()
}

interface Issuance {
  readonly commonName: string
  readonly units?: readonly string[]
  readonly publicKey: CryptoKey | PublicKey
  readonly days: number
  readonly names: readonly { readonly type: 'dns' | 'ip'; readonly value: string }[]
  readonly usages: readonly string[]
}

async function issue(authority: CertificateAuthority, issuance: Issuance): Promise<string> {
  const x509 = await loadX509()
  const issuer = new x509.X509Certificate(authority.certificatePem)
  const { notBefore, notAfter } = validity(issuance.days)
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: newSerialNumber(),
    subject: [...(issuance.units?.length ? [{ OU: [...issuance.units] }] : []), { CN: [issuance.commonName] }],
    issuer: issuer.subjectName,
    notBefore,
    notAfter: notAfter > issuer.notAfter ? issuer.notAfter : notAfter,
    signingAlgorithm: KEY_ALGORITHM,
    publicKey: issuance.publicKey,
    signingKey: await importPrivateKey(authority.privateKeyPem),
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([...issuance.usages]),
      new x509.SubjectAlternativeNameExtension([...issuance.names]),
      await x509.SubjectKeyIdentifierExtension.create(issuance.publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey),
    ],
  })
  return asPem(certificate.toString('pem'))
}

function parseRequest(x509: Awaited<ReturnType<typeof loadX509>>, csrPem: string) {
  try {
    return new x509.Pkcs10CertificateRequest(csrPem)
  } catch (error) {
    throw new PkiError('The certificate request cannot be read; it must be PKCS#10 in PEM.', { cause: error })
  }
}

const asPem = (text: string): string => (text.endsWith('\n') ? text : `${text}\n`)
