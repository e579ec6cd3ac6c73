export {
  createAuthority,
  createNodeKeyAndCsr,
  fingerprintOf,
  ingressNames,
  issueInstanceCertificate,
  issueNodeCertificate,
  issueNodeIdentity,
  issueServerCertificate,
  type CertificateAuthority,
  type ServerCertificate,
} from './authority.js'
export { createInstanceKeyAndCsr } from './instance-request.js'
export { isDueForRenewal, loadNodeIdentity, nameOfCertificate, remainingLifetime, saveNodeIdentity } from './identity-files.js'
export {
  createJoinToken,
  fingerprintOfToken,
  hashJoinToken,
  joinNode,
  JoinRefusedError,
  renewNodeIdentity,
  requestInstanceCertificate,
} from './join.js'
export { ensureNodeIdentity, keepIdentityFresh, nodeIdentityOptions, type NodeIdentityOptions } from './ensure-identity.js'
export { commonNameOf, parseCommonName, PkiError, type NodeName } from './names.js'
export { clientTlsOptions, peerOf, secureContextOf, serverTlsOptions } from './tls.js'
export { makeTestIdentity } from './test-identity.js'
