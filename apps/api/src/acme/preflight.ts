import { randomBytes, X509Certificate } from 'node:crypto'
import { lookup } from 'node:dns/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { connect } from 'node:tls'
import type { Challenge, Challenges, ChallengeType, ChallengeView } from './challenges.js'

/** How the platform's names look from outside. Each rejects with the reason why nothing is seen. */
export interface OutsideView {
  /** The addresses that a name has in DNS. */
  readonly addresses: (name: string) => Promise<readonly string[]>
  /** What http://<name>/.well-known/acme-challenge/<token> answers. */
  readonly visit: (name: string, token: string) => Promise<string>
  /** The certificate, DER, shown to whoever offers only acme-tls/1 for the name. */
  readonly shakeHands: (name: string) => Promise<Buffer>
}

export interface PreflightOptions {
  readonly challenges: Challenges
  readonly view: OutsideView
  /** In order of preference. */
  readonly types: readonly ChallengeType[]
  /** How long a challenge may take to be seen from outside; routers ask for new ones every other second. */
  readonly patienceMs: number
}

/**
 * Before anything is asked of the authority: does the name lead here, and by which port? Routers are given answers of our own to the
 * questions that the authority would ask; the first way, in order of preference, by which they can be read is the one to take.
 */
export async function preflight(name: string, { challenges, view, types, patienceMs }: PreflightOptions): Promise<ChallengeType> {
  const addresses = await view.addresses(name).catch((error: unknown) => {
    throw new Error(`${name} has no address in DNS (${messageOf(error)}): point it at the routers.`, { cause: error })
  })
  const looks = await Promise.all(
    types.map(async (type) => {
      const token = `preflight-${randomBytes(16).toString('hex')}`
      const shown = await challenges.put({ name, token, type, keyAuthorization: `${token}.${randomBytes(16).toString('hex')}` })
      try {
        return { type, reason: await seenWithin(shown, view, patienceMs) }
      } finally {
        await challenges.remove(token)
      }
    }),
  )
  const seen = looks.find(({ reason }) => reason === undefined)
  if (seen) return seen.type
  const reasons = looks.map(({ type, reason }) => `${type}: ${reason ?? ''}`).join('; ')
  throw new Error(
    `${name} (${addresses.join(', ')}) does not lead to this platform (${reasons}): point its DNS at the routers, and port 80 at BLOOMERY_HTTP_PORT or port 443 at BLOOMERY_HTTPS_PORT.`,
  )
}

/** Waits until the challenge's answer can be read from outside; throws with the reason why it cannot. */
export async function awaitSeen(shown: ChallengeView, view: OutsideView, patienceMs: number): Promise<void> {
  const reason = await seenWithin(shown, view, patienceMs)
  if (reason !== undefined)
    throw new Error(`The answer to ${shown.type} for ${shown.name} cannot be read from outside: ${reason}.`)
}

/** undefined once it is seen; else the reason why it was not. */
async function seenWithin(shown: ChallengeView, view: OutsideView, patienceMs: number): Promise<string | undefined> {
  const deadline = Date.now() + patienceMs
  for (;;) {
    const reason = await look(shown, view)
    if (reason === undefined || Date.now() > deadline) return reason
    await delay(Math.min(500, patienceMs / 4))
  }
}

async function look(shown: ChallengeView, view: OutsideView): Promise<string | undefined> {
  try {
    if (shown.type === 'http-01')
      return (await view.visit(shown.name, shown.token)) === shown.keyAuthorization ? undefined : 'something else answers there'
    const wanted = new X509Certificate(shown.certificatePem ?? '').raw
    return (await view.shakeHands(shown.name)).equals(wanted) ? undefined : 'another certificate is shown there'
  } catch (error) {
    return messageOf(error)
  }
}

/** What a challenge of an authority looks like to us; undefined for kinds that we cannot answer. */
export function asChallenge(
  name: string,
  { type, token }: { readonly type: string; readonly token: string },
  keyAuthorization: string,
): Challenge | undefined {
  return type === 'http-01' || type === 'tls-alpn-01' ? { name, token, type, keyAuthorization } : undefined
}

const LOOK_TIMEOUT_MS = 5_000

/** From this machine, by the system's resolver. The ports are those at which the authority asks. */
export const viewFromHere = (ports: { readonly http: number; readonly https: number }): OutsideView => ({
  addresses: async (name) => (await lookup(name, { all: true })).map(({ address }) => address),
  visit: async (name, token) => {
    const response = await fetch(`http://${name}:${ports.http}/.well-known/acme-challenge/${token}`, {
      redirect: 'manual',
      signal: AbortSignal.timeout(LOOK_TIMEOUT_MS),
    })
    return (await response.text()).trim()
  },
  shakeHands: (name) => certificateShown(name, ports.https),
})

/** As an authority does: only acme-tls/1 is offered, and who shows the certificate is not asked for. */
function certificateShown(name: string, port: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: name, port, servername: name, ALPNProtocols: ['acme-tls/1'], rejectUnauthorized: false })
    socket.setTimeout(LOOK_TIMEOUT_MS, () => socket.destroy(new Error('no answer in time')))
    socket.once('error', reject)
    socket.once('close', () => reject(new Error('the connection was closed')))
    socket.once('secureConnect', () => {
      const certificate = socket.getPeerX509Certificate()?.raw
      if (socket.alpnProtocol === 'acme-tls/1' && certificate) resolve(certificate)
      else reject(new Error('acme-tls/1 is not spoken there'))
      socket.destroy()
    })
  })
}

function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  // fetch says only that it failed; the cause says why.
  return error.cause instanceof Error ? error.cause.message : error.message
}
