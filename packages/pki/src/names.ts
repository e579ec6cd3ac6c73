import { NodeRole } from '@bloomery/contracts'

/** Who holds a node certificate. */
export interface NodeName {
  readonly role: NodeRole
  readonly nodeId: string
}

const NODE_ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,49}$/

/** A certificate, token or answer that cannot be used; the message says which and what to do. */
export class PkiError extends Error {
  override readonly name = 'PkiError'
}

/** `<role>:<nodeId>`, the common name of a node certificate. */
export function commonNameOf({ role, nodeId }: NodeName): string {
  if (!NODE_ID.test(nodeId))
    throw new PkiError(`'${nodeId}' cannot name a node: letters, digits, '.', '_' and '-', beginning with a letter or digit.`)
  return `${role}:${nodeId}`
}

/** The reverse of {@link commonNameOf}; undefined for anything else. */
export function parseCommonName(commonName: string): NodeName | undefined {
  const at = commonName.indexOf(':')
  const role = NodeRole.safeParse(commonName.slice(0, at))
  const nodeId = commonName.slice(at + 1)
  return at > 0 && role.success && NODE_ID.test(nodeId) ? { role: role.data, nodeId } : undefined
}
