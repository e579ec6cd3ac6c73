import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import type { NodeIdentity, NodeRole } from '@bloomery/contracts'
import { fingerprintOf } from './authority.js'
import { isDueForRenewal, loadNodeIdentity, remainingLifetime } from './identity-files.js'
import { fingerprintOfToken, joinNode, JoinRefusedError, renewNodeIdentity } from './join.js'
import { PkiError } from './names.js'

/** Where a role's certificate lies and, where it has none yet, how to come by one. */
export interface NodeIdentityOptions {
  readonly role: NodeRole
  readonly nodeId: string
  /** Folder of node.crt, node.key and ca.crt. */
  readonly dir: string
  /** https://host:port of the api's internal listener. */
  readonly joinUrl?: string | undefined
  readonly joinToken?: string | undefined
  /** A file that holds, or will hold, the token. It may be replaced while a role waits. */
  readonly joinTokenFile?: string | undefined
  /** Told what it waits for, once per reason. */
  readonly onWaiting?: (reason: string) => void
  readonly signal?: AbortSignal | undefined
}

/** {@link NodeIdentityOptions} from BLOOMERY_NODE_DIR, _NODE_ID, _JOIN_URL, _JOIN_TOKEN and _JOIN_TOKEN_FILE. */
export function nodeIdentityOptions(role: NodeRole, env: NodeJS.ProcessEnv): NodeIdentityOptions {
  const dir = env['BLOOMERY_NODE_DIR']
  if (!dir) throw new PkiError("BLOOMERY_NODE_DIR is not set; it names the folder of this role's certificate.")
  return {
    role,
    dir,
    nodeId: env['BLOOMERY_NODE_ID'] || 'main',
    joinUrl: env['BLOOMERY_JOIN_URL'] || undefined,
    joinToken: env['BLOOMERY_JOIN_TOKEN'] || undefined,
    joinTokenFile: env['BLOOMERY_JOIN_TOKEN_FILE'] || undefined,
  }
}

/**
 * The role's identity: the one on disk while it is good, else a new one for a join token. Waits, trying again, while the
 * token is not there yet or the api does not answer. Rejects where waiting is in vain: no token and no place to join, or a
 * token given by value was refused.
 */
export async function ensureNodeIdentity(options: NodeIdentityOptions): Promise<NodeIdentity> {
  let told = ''
  for (let attempt = 0; ; attempt++) {
    options.signal?.throwIfAborted()
    const present = usableIdentity(options)
    if (present) return present
    const outcome = await tryToJoin(options)
    if (typeof outcome !== 'string') return outcome
    if (outcome !== told) options.onWaiting?.(outcome)
    told = outcome
    await delay(Math.min(150 + attempt * 50, 2_000), undefined, options.signal ? { signal: options.signal } : {})
  }
}

function usableIdentity(options: NodeIdentityOptions): NodeIdentity | undefined {
  const identity = loadNodeIdentity(options.dir)
  if (!identity || identity.role !== options.role || remainingLifetime(identity.certificatePem) <= 0) return undefined
  const token = tokenOf(options)
  // The platform may have been made anew since: then its token names another authority than our certificate's.
  return token !== undefined && fingerprintOfToken(token) !== fingerprintOf(identity.authorityPem) ? undefined : identity
}

/** The identity, or the reason to wait. */
async function tryToJoin(options: NodeIdentityOptions): Promise<NodeIdentity | string> {
  const { joinUrl: url, role, nodeId, dir } = options
  const token = tokenOf(options)
  if (!url || (token === undefined && !options.joinTokenFile))
    throw new PkiError(
      `No valid certificate in ${dir}, and no way to obtain one: set BLOOMERY_JOIN_URL and BLOOMERY_JOIN_TOKEN (or BLOOMERY_JOIN_TOKEN_FILE).`,
    )
  if (token === undefined) return `waiting for a join token in ${options.joinTokenFile ?? ''}`
  try {
    return await joinNode({ url, token, role, nodeId, dir })
  } catch (error) {
    // Tokens in files are replaced by the api once they are spent or expired.
    if (error instanceof PkiError && !options.joinTokenFile) throw error
    const reason = error instanceof Error ? error.message || String((error as { code?: unknown }).code) : String(error)
    return error instanceof JoinRefusedError ? `waiting for a new join token: ${reason}` : `waiting for ${url}: ${reason}`
  }
}

function tokenOf(options: NodeIdentityOptions): string | undefined {
  if (options.joinTokenFile) {
    try {
      return readFileSync(options.joinTokenFile, 'utf8').trim() || undefined
    } catch {
      return undefined // not written yet; the caller waits
    }
  }
  return options.joinToken
}

/** Renews the certificate in the last third of its life. `onRenewed` hands the new one to listeners and clients. */
export function keepIdentityFresh(options: {
  readonly identity: NodeIdentity
  readonly dir: string
  readonly url: string
  readonly onRenewed: (identity: NodeIdentity) => void
  readonly onFailed: (error: unknown) => void
  /** How often to look, in milliseconds. @default one hour */
  readonly intervalMs?: number
}): { close(): void } {
  let identity = options.identity
  let busy = false
  const look = async (): Promise<void> => {
    if (busy || !isDueForRenewal(identity.certificatePem)) return
    busy = true
    try {
      identity = await renewNodeIdentity({ url: options.url, identity, dir: options.dir })
      options.onRenewed(identity)
    } catch (error) {
      options.onFailed(error)
    } finally {
      busy = false
    }
  }
  const timer = setInterval(() => void look(), options.intervalMs ?? 3_600_000)
  timer.unref()
  void look()
  return { close: () => clearInterval(timer) }
}
