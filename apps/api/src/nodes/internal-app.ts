import fastify, { type FastifyInstance } from 'fastify'
import { BlobError, type Blobstore } from '@bloomery/blobstore'
import {
  CfError,
  InstanceCertificateRequest,
  JoinRequest,
  RenewRequest,
  type JoinAnswer,
  type NodeIdentity,
  type NodeRole,
} from '@bloomery/contracts'
import { issueNodeCertificate, peerOf, PkiError, serverTlsOptions, type CertificateAuthority, type NodeName } from '@bloomery/pki'
import type { Logger } from '@bloomery/telemetry'
import { parseBody } from '../http/bodies.js'
import { answerErrors } from '../http/errors.js'
import type { ChallengeView } from '../acme/challenges.js'
import type { IngressCertificates } from './ingress-certificates.js'
import type { InstanceCertificates } from './instance-certificates.js'
import type { JoinTokens } from './join-tokens.js'
import type { RouteServiceKeys } from './route-service-keys.js'
import type { SyslogDrainList } from './syslog-drains.js'

export interface InternalParts {
  readonly identity: NodeIdentity
  readonly authority: CertificateAuthority
  readonly tokens: JoinTokens
  readonly ingressCertificates: IngressCertificates
  readonly instanceCertificates: InstanceCertificates
  readonly routeServiceKeys: RouteServiceKeys
  readonly syslogDrains: SyslogDrainList
  /** What routers answer to a certificate authority that looks whether a name is ours. */
  readonly acmeChallenges: () => Promise<readonly ChallengeView[]>
  readonly blobstore: Blobstore
  /** Whether the query of a blob's address is a good, unexpired signature for its key. */
  readonly isSigned: (key: string, query: URLSearchParams) => boolean
  readonly onSpent: () => void
  readonly log: Logger
}

/** The listener for other roles: joining, renewing, signed blobs, the routers' certificates. TLS by the internal authority. */
export function buildInternalApp(parts: InternalParts): FastifyInstance {
  const { authority, tokens, log } = parts
  // Joiners have no certificate yet, so the connection is open to all and each handler asks who is there.
  const app: FastifyInstance = fastify({
    logger: false,
    https: serverTlsOptions(parts.identity, { anonymous: true }),
    bodyLimit: 64 * 1024,
  })
  answerErrors(app, log)

  const certify = async (node: NodeName, csrPem: string): Promise<JoinAnswer> => {
    try {
      const certificatePem = await issueNodeCertificate(authority, csrPem, node)
      log.info({ role: node.role, nodeId: node.nodeId }, 'certificate issued')
      return { nodeId: node.nodeId, certificatePem, authorityPem: authority.certificatePem }
    } catch (error) {
      throw error instanceof PkiError ? new CfError('UnprocessableEntity', error.message, { cause: error }) : error
    }
  }

  app.post('/internal/join', async (request) => {
    const input = parseBody(JoinRequest, request.body)
    const nodeId = await tokens.spend(input)
    parts.onSpent()
    return certify({ role: input.role, nodeId }, input.csrPem)
  })

  app.post('/internal/renew', async (request) => {
    const peer = requirePeer(request.raw.socket)
    return certify(peer, parseBody(RenewRequest, request.body).csrPem)
  })

  app.get('/internal/ingress-certificates', async (request) => {
    requirePeer(request.raw.socket, 'router', 'launcher')
    return parts.ingressCertificates.list()
  })

  app.post('/internal/instance-certificates', async (request) => {
    const { nodeId } = requirePeer(request.raw.socket, 'cell')
    return parts.instanceCertificates.issue(nodeId, parseBody(InstanceCertificateRequest, request.body))
  })

  app.get('/internal/instance-authority', (request) => {
    requirePeer(request.raw.socket, 'router')
    return { certificatePem: parts.instanceCertificates.authorityPem }
  })

  app.get('/internal/acme-challenges', async (request) => {
    requirePeer(request.raw.socket, 'router')
    return parts.acmeChallenges()
  })

  app.get('/internal/route-service-keys', async (request) => {
    requirePeer(request.raw.socket, 'router')
    return parts.routeServiceKeys.list()
  })

  app.get('/internal/syslog-drains', async (request, reply) => {
    requirePeer(request.raw.socket, 'logs')
    const { revision } = request.query as { revision?: unknown }
    const drains = await parts.syslogDrains.read(typeof revision === 'string' ? revision : undefined)
    return drains ?? reply.code(204).send()
  })

  app.get('/internal/blobs/*', async (request, reply) => {
    const key = (request.params as { '*': string })['*']
    if (!parts.isSigned(key, new URL(request.url, 'https://internal').searchParams))
      throw new CfError('NotAuthorized', 'This blob address is not signed, was changed or has expired; ask for a new one.')
    try {
      const { body, sizeBytes } = await parts.blobstore.get(key)
      return await reply.header('content-type', 'application/octet-stream').header('content-length', sizeBytes).send(body)
    } catch (error) {
      if (error instanceof BlobError && error.kind === 'not-found')
        throw new CfError('ResourceNotFound', `There is no blob '${key}'.`, { cause: error })
      throw error
    }
  })
  return app
}

function requirePeer(socket: Parameters<typeof peerOf>[0], ...roles: readonly NodeRole[]): NodeName {
  const peer = peerOf(socket)
  if (!peer) throw new CfError('NotAuthenticated', 'This address asks for a certificate of the internal authority.')
  if (roles.length > 0 && !roles.includes(peer.role))
    throw new CfError('NotAuthorized', `The role '${peer.role}' may not ask for this.`)
  return peer
}
