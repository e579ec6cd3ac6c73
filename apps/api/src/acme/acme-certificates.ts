import { randomUUID } from 'node:crypto'
import { acquireLease, execute, guardLease, rows, sql, transaction, type Lease, type Pool } from '@bloomery/database'
import { isDueForRenewal } from '@bloomery/pki'
import type { Keyring } from '@bloomery/secrets'
import type { Logger } from '@bloomery/telemetry'
import { Client, crypto } from 'acme-client'
import { notAfterOf } from '../nodes/authorities.js'
import { CHALLENGE_TYPES, Challenges, type ChallengeType, type ChallengeView } from './challenges.js'
import { asChallenge, awaitSeen, preflight, viewFromHere, type OutsideView } from './preflight.js'

export interface AcmeOptions {
  /** Of the authority, e.g. https://acme-v02.api.letsencrypt.org/directory. */
  readonly directoryUrl: string
  /** Where the authority writes to. */
  readonly contact: string | undefined
  /** Ways by which it may ask, the preferred one first. @default http-01, then tls-alpn-01 */
  readonly challengeTypes?: readonly ChallengeType[]
  /** Ports at which it asks. @default 80 and 443 */
  readonly ports?: { readonly http: number; readonly https: number }
}

export interface AcmeDeps {
  readonly pool: Pool
  readonly keyring: Keyring
  readonly options: AcmeOptions
  /** This process, among those that might order. */
  readonly holder: string
  readonly now: () => Date
  readonly log: Logger
  /** @default as seen from this machine */
  readonly view?: OutsideView
  /** How long a challenge may take to be seen from outside. @default 10 s */
  readonly patienceMs?: number
}

const LEASE = 'acme'
const LEASE_MS = 10 * 60_000
/** Authorities limit how much is asked of them; what is left has its turn in the next pass. */
const ORDERS_AT_ONCE = 10
const RETRY_MS = { first: 5 * 60_000, most: 24 * 3_600_000 }
const PATIENCE_MS = 10_000
const PORTS = { http: 80, https: 443 }
/** Names that no public authority can reach. */
const PRIVATE = /(^|\.)(localhost|local|internal|test|example|invalid|home\.arpa)$|^\*|^[^.]+$/

export const acmeAccountContext = (directoryUrl: string): string => `acme_account:${directoryUrl}`

/**
 * Certificates of a public authority (ACME: HTTP-01 and TLS-ALPN-01) for the names of HTTP routes. One process orders at a time; each step
 * may be repeated. A name is only ordered for once an answer of ours can be read under it from here, so that nothing changes for names that do
 * not lead to this platform: those keep the platform's own certificate. A certificate that is due stays in service until its successor is there.
 */
export class AcmeCertificates {
  readonly #challenges: Challenges
  readonly #view: OutsideView
  readonly #patienceMs: number
  constructor(private readonly deps: AcmeDeps) {
    this.#challenges = new Challenges(deps)
    this.#view = deps.view ?? viewFromHere(deps.options.ports ?? PORTS)
    this.#patienceMs = deps.patienceMs ?? PATIENCE_MS
  }

  /** Orders what is wanted, not there and due; a name that fails is tried again later, ever more rarely. */
  async pass(): Promise<void> {
    const { pool, holder, options, log } = this.deps
    const lease = await acquireLease(pool, LEASE, holder, LEASE_MS)
    if (!lease) return
    await this.#challenges.removeExpired()
    const wanted = await this.#wanted()
    for (const name of wanted.slice(0, ORDERS_AT_ONCE)) {
      // Each order takes a while.
      if (!(await acquireLease(pool, LEASE, holder, LEASE_MS))) return
      try {
        await this.#order(name, lease)
        log.info({ name, authority: options.directoryUrl }, 'certificate obtained')
      } catch (error) {
        const detail = error instanceof Error ? error.message : String(error)
        log.warn({ name, reason: detail }, 'a certificate could not be obtained yet')
        await this.#noteFailure(name, detail, lease)
      }
    }
  }

  /** What routers have to answer now. */
  challenges(): Promise<ChallengeView[]> {
    return this.#challenges.list()
  }

  /** Names of routes that lead somewhere, without a certificate that is good for a while; those that failed lately wait. */
  async #wanted(): Promise<string[]> {
    const { pool, options, now } = this.deps
    const named = await rows<{ name: string; certificate: string | null }>(
      pool,
      sql`SELECT DISTINCT n.name, (SELECT c.certificate_pem FROM ingress_certificates c
            WHERE c.source = 'acme' AND c.names = ARRAY[n.name] ORDER BY c.not_after DESC LIMIT 1) AS certificate
          FROM (SELECT lower(CASE WHEN r.host = '' THEN d.name ELSE r.host || '.' || d.name END) AS name
            FROM routes r JOIN domains d ON d.guid = r.domain_guid
            WHERE r.port = 0 AND NOT d.internal AND EXISTS (SELECT 1 FROM route_destinations t WHERE t.route_guid = r.guid)) n
          WHERE NOT EXISTS (SELECT 1 FROM acme_orders o
            WHERE o.directory_url = ${options.directoryUrl} AND o.names = ARRAY[n.name] AND o.next_attempt_at > ${now()})
          ORDER BY n.name`,
    )
    return named
      .filter(
        ({ name, certificate }) => !PRIVATE.test(name) && (certificate === null || isDueForRenewal(certificate, now().getTime())),
      )
      .map(({ name }) => name)
  }

  async #order(name: string, lease: Lease): Promise<void> {
    const { pool, keyring, options } = this.deps
    const { challengeTypes = CHALLENGE_TYPES } = options
    const type = await preflight(name, {
      challenges: this.#challenges,
      view: this.#view,
      types: challengeTypes,
      patienceMs: this.#patienceMs,
    })
    const client = await this.#client()
    const [privateKey, csr] = await crypto.createCsr({ commonName: name, altNames: [name] }, await crypto.createPrivateEcdsaKey())
    let unseen: unknown
    const obtained = client.auto({
      csr,
      termsOfServiceAgreed: true,
      challengePriority: [type, ...challengeTypes.filter((each) => each !== type)],
      // The look from here has been taken already, and says more.
      skipChallengeVerification: true,
      ...(options.contact === undefined ? {} : { email: options.contact }),
      challengeCreateFn: async (_authorization, offered, keyAuthorization) => {
        const challenge = asChallenge(name, offered, keyAuthorization)
        try {
          if (!challenge || !challengeTypes.includes(challenge.type))
            throw new Error(`The authority asks by ${offered.type} only, not by ${challengeTypes.join(' or ')}.`)
          await awaitSeen(await this.#challenges.put(challenge), this.#view, this.#patienceMs)
        } catch (error) {
          unseen = error
          throw error
        }
      },
      challengeRemoveFn: (_authorization, { token }) => this.#challenges.remove(token),
    })
    // Our own reason says more than what the client makes of it.
    const certificatePem = await obtained.catch((error: unknown) => Promise.reject(toError(unseen ?? error)))
    await transaction(pool, async (tx) => {
      if (!(await guardLease(tx, lease))) throw new Error('another process orders certificates by now')
      const guid = randomUUID()
      const key = keyring.encrypt(privateKey.toString(), `ingress_certificate:${guid}`)
      await execute(tx, sql`DELETE FROM ingress_certificates WHERE source = 'acme' AND names = ARRAY[${name}]`)
      await execute(
        tx,
        sql`INSERT INTO ingress_certificates (guid, names, certificate_pem, private_key_encrypted, source, not_after)
            VALUES (${guid}, ARRAY[${name}], ${certificatePem}, ${JSON.stringify(key)}, 'acme', ${notAfterOf(certificatePem)})`,
      )
      await execute(
        tx,
        sql`INSERT INTO acme_orders (guid, directory_url, names, state, certificate_guid, lease_token)
            VALUES (${randomUUID()}, ${options.directoryUrl}, ARRAY[${name}], 'issued', ${guid}, ${lease.token})
            ON CONFLICT (directory_url, names) DO UPDATE SET state = 'issued', certificate_guid = EXCLUDED.certificate_guid, detail = NULL,
              attempts = 0, next_attempt_at = now(), updated_at = now(), lease_token = EXCLUDED.lease_token`,
      )
    })
  }

  /** The authority's account of this platform; its key is made once. */
  async #client(): Promise<Client> {
    const { pool, keyring, options } = this.deps
    const { directoryUrl } = options
    const fresh = (await crypto.createPrivateEcdsaKey()).toString()
    await execute(
      pool,
      sql`INSERT INTO acme_accounts (directory_url, contact, private_key_encrypted)
          VALUES (${directoryUrl}, ${options.contact ?? null}, ${JSON.stringify(keyring.encrypt(fresh, acmeAccountContext(directoryUrl)))})
          ON CONFLICT (directory_url) DO NOTHING`,
    )
    const [account] = await rows<{ key: unknown }>(
      pool,
      sql`SELECT private_key_encrypted AS key FROM acme_accounts WHERE directory_url = ${directoryUrl}`,
    )
    if (!account) throw new Error('the account of the certificate authority was deleted')
    return new Client({ directoryUrl, accountKey: keyring.decrypt(account.key, acmeAccountContext(directoryUrl)) })
  }

  async #noteFailure(name: string, detail: string, lease: Lease): Promise<void> {
    const { pool, options, now } = this.deps
    await execute(
      pool,
      sql`INSERT INTO acme_orders AS o (guid, directory_url, names, state, detail, attempts, next_attempt_at, lease_token)
          VALUES (${randomUUID()}, ${options.directoryUrl}, ARRAY[${name}], 'failed', ${detail}, 1,
            ${new Date(now().getTime() + RETRY_MS.first)}, ${lease.token})
          ON CONFLICT (directory_url, names) DO UPDATE SET state = 'failed', detail = EXCLUDED.detail, attempts = o.attempts + 1,
            next_attempt_at = ${now()}::timestamptz + least(${RETRY_MS.first} * power(2, least(o.attempts, 12)), ${RETRY_MS.most}) * interval '1 millisecond',
            updated_at = now(), lease_token = EXCLUDED.lease_token
          WHERE o.lease_token <= EXCLUDED.lease_token`,
    )
  }
}

const toError = (error: unknown): Error => (error instanceof Error ? error : new Error(String(error)))
