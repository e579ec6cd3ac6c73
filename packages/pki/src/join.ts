import { createHash, randomBytes, X509Certificate } from 'node:crypto'
import { request } from 'node:https'
import { connect, type ConnectionOptions, type DetailedPeerCertificate } from 'node:tls'
import { InstanceCertificateAnswer, JoinAnswer, serverNameOf, type NodeIdentity, type NodeRole } from '@bloomery/contracts'
import { createNodeKeyAndCsr, fingerprintOf } from './authority.js'
import { nameOfCertificate, saveNodeIdentity } from './identity-files.js'
import { PkiError } from './names.js'
import { clientTlsOptions } from './tls.js'

const TIMEOUT_MS = 10_000

/** The api refused a join or a renewal: the token is unknown, spent or expired, or names another role. Trying again with it is in vain. */
export class JoinRefusedError extends PkiError {}

/** A new join token, `<secret>.<authority fingerprint>`. Only `hash` is to be stored. */
export function createJoinToken(authorityPem: string): { token: string; hash: string } {
  const token = `${randomBytes(24).toString('base64url')}.${fingerprintOf(authorityPem)}`
  return { token, hash: hashJoinToken(token) }
}

/** What the database keeps of a token; a secret of 192 random bits needs no slow hash. */
export const hashJoinToken = (token: string): string => createHash('sha256').update(token).digest('hex')

/** The authority that a token pins. */
export function fingerprintOfToken(token: string): string {
  const fingerprint = /^[A-Za-z0-9_-]+\.([0-9a-f]{64})$/.exec(token.trim())?.[1]
  if (fingerprint === undefined)
    throw new PkiError('The join token is malformed; it has the form <secret>.<fingerprint of the authority>.')
  return fingerprint
}

/** Spends a join token on a certificate and keeps it in `dir`. Talks only to an api whose authority the token names. */
export async function joinNode(options: {
  /** https://host:port of the api's internal listener. */
  readonly url: string
  readonly token: string
  readonly role: NodeRole
  readonly nodeId: string
  readonly dir: string
}): Promise<NodeIdentity> {
  const { role, nodeId } = options
  const token = options.token.trim()
  const authorityPem = await fetchPinnedAuthority(new URL(options.url), fingerprintOfToken(token))
  const { privateKeyPem, csrPem } = await createNodeKeyAndCsr({ role, nodeId })
  const answer = await post(
    new URL('/internal/join', options.url),
    { token, role, nodeId, csrPem },
    { ca: authorityPem, servername: serverNameOf('api') },
    JoinAnswer,
  )
  return keep(options.dir, answer, privateKeyPem, role)
}

/** Asks for a new certificate (and key) with the present one, and keeps it in `dir`. */
export async function renewNodeIdentity(options: {
  readonly url: string
  readonly identity: NodeIdentity
  readonly dir: string
}): Promise<NodeIdentity> {
  const { identity } = options
  const { privateKeyPem, csrPem } = await createNodeKeyAndCsr(identity)
  const answer = await post(new URL('/internal/renew', options.url), { csrPem }, clientTlsOptions(identity, 'api'), JoinAnswer)
  return keep(options.dir, answer, privateKeyPem, identity.role)
}

/** Asks, as the cell on which the instance is placed, for the instance's certificate. */
export async function requestInstanceCertificate(options: {
  readonly url: string
  readonly identity: NodeIdentity
  readonly instanceGuid: string
  readonly csrPem: string
  /** Its own, where the platform has not heard of it yet. */
  readonly address?: string | undefined
}): Promise<InstanceCertificateAnswer> {
  const { url, identity, instanceGuid, csrPem, address: instanceAddress } = options
  const address = new URL('/internal/instance-certificates', url)
  return post(
    address,
    { instanceGuid, csrPem, address: instanceAddress },
    clientTlsOptions(identity, 'api'),
    InstanceCertificateAnswer,
  )
}

function keep(dir: string, answer: JoinAnswer, privateKeyPem: string, role: NodeRole): NodeIdentity {
  const name = nameOfCertificate(answer.certificatePem)
  if (name.role !== role || name.nodeId !== answer.nodeId)
    throw new PkiError(`The api issued a certificate for ${name.role} '${name.nodeId}', not for ${role} '${answer.nodeId}'.`)
  const identity = { ...name, certificatePem: answer.certificatePem, privateKeyPem, authorityPem: answer.authorityPem }
  saveNodeIdentity(dir, identity)
  return identity
}

/**
 * The authority's certificate as the listener presents it, if it has the pinned fingerprint. This connection proves nothing
 * else and carries nothing; the next one is verified against this certificate in the ordinary way.
 */
function fetchPinnedAuthority(url: URL, fingerprint: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({
      host: url.hostname.replace(/^\[|\]$/g, ''),
      port: Number(url.port || 443),
      servername: serverNameOf('api'),
      rejectUnauthorized: false,
      timeout: TIMEOUT_MS,
    })
    socket.once('error', reject)
    socket.once('timeout', () => socket.destroy(new Error(`${url.host} did not answer within ${TIMEOUT_MS / 1000} s`)))
    socket.once('secureConnect', () => {
      const found = chainOf(socket.getPeerCertificate(true)).find((pem) => fingerprintOf(pem) === fingerprint)
      socket.destroy()
      if (found !== undefined) resolve(found)
      else
        reject(
          new PkiError(`${url.host} belongs to another authority than the join token names; make a new token at this platform.`),
        )
    })
  })
}

function chainOf(leaf: DetailedPeerCertificate): string[] {
  const chain: string[] = []
  const seen = new Set<string>()
  for (let each: DetailedPeerCertificate | undefined = leaf; each?.raw && !seen.has(each.fingerprint256);) {
    seen.add(each.fingerprint256)
    chain.push(new X509Certificate(each.raw).toString())
    each = each.issuerCertificate
  }
  return chain
}

interface Schema<T> {
  safeParse(value: unknown): { readonly success: true; readonly data: T } | { readonly success: false; readonly error: unknown }
}

function post<T>(url: URL, body: unknown, tls: ConnectionOptions, schema: Schema<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const call = request(
      url,
      { ...tls, method: 'POST', agent: false, timeout: TIMEOUT_MS, headers: { 'content-type': 'application/json' } },
      (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.on('error', reject)
        response.on('end', () => {
          const text = Buffer.concat(chunks).toString('utf8')
          const status = response.statusCode ?? 0
          if (status === 200 || status === 201) {
            const answer = schema.safeParse(parseJson(text))
            if (answer.success) resolve(answer.data)
            else reject(new PkiError(`The api's answer to ${url.pathname} cannot be read.`, { cause: answer.error }))
          } else if (status >= 400 && status < 500) reject(new JoinRefusedError(`The api refused: ${detailOf(text, status)}`))
          else reject(new PkiError(`The api answered ${status} to ${url.pathname}: ${detailOf(text, status)}`))
        })
      },
    )
    call.once('error', reject)
    call.once('timeout', () => call.destroy(new Error(`${url.host} did not answer within ${TIMEOUT_MS / 1000} s`)))
    call.end(JSON.stringify(body))
  })
}

const parseJson = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function detailOf(text: string, status: number): string {
  const errors = (parseJson(text) as { errors?: { detail?: unknown }[] } | undefined)?.errors
  const detail = Array.isArray(errors) ? errors[0]?.detail : undefined
  return typeof detail === 'string' ? detail : `status ${status}`
}
