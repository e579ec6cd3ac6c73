import { createHash, createHmac, pbkdf2, randomBytes, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'

/** What is kept of a password (RFC 5802): it proves a login and cannot be used for one. All in base64. */
export interface ScramVerifier {
  readonly salt: string
  readonly iterations: number
  readonly storedKey: string
  readonly serverKey: string
}

export const SCRAM_MECHANISM = 'SCRAM-SHA-256'
const ITERATIONS = 15_000
const KEY_BYTES = 32
const SALT_BYTES = 28
const NONCE_BYTES = 24

const hmac = (key: Buffer, text: string): Buffer => createHmac('sha256', key).update(text).digest()
const sha256 = (bytes: Buffer): Buffer => createHash('sha256').update(bytes).digest()

/** Of a password in printable ASCII (for others SASLprep would have to come first). */
export async function makeVerifier(password: string, salt = randomBytes(SALT_BYTES)): Promise<ScramVerifier> {
  if (!/^[\x21-\x7e]+$/.test(password)) throw new RangeError('Passwords for the gate are of printable ASCII characters.')
  const salted = await promisify(pbkdf2)(password, salt, ITERATIONS, KEY_BYTES, 'sha256')
  return {
    salt: salt.toString('base64'),
    iterations: ITERATIONS,
    storedKey: sha256(hmac(salted, 'Client Key')).toString('base64'),
    serverKey: hmac(salted, 'Server Key').toString('base64'),
  }
}

/** A login that failed; the client is told no more than that. */
export class ScramError extends Error {
  override readonly name = 'ScramError'
}

/** For names that nobody has: nothing fits it, and asking twice gives the same salt, so that it looks like any other. */
function decoy(name: string, secret: Buffer): ScramVerifier {
  const salt = createHmac('sha256', secret).update(name).digest().subarray(0, SALT_BYTES)
  return {
    salt: salt.toString('base64'),
    iterations: ITERATIONS,
    storedKey: randomBytes(KEY_BYTES).toString('base64'),
    serverKey: randomBytes(KEY_BYTES).toString('base64'),
  }
}

/** The server's side of one login: two messages of the client, each answered once, and then never again. */
export class ScramConversation {
  #state: 'first' | 'final' | 'over' = 'first'
  #user = ''
  #verifier: ScramVerifier | undefined
  #nonce = ''
  #authMessage = ''

  constructor(
    private readonly find: (user: string) => ScramVerifier | undefined,
    private readonly secret: Buffer,
  ) {}

  /** `n,,n=user,r=nonce` → `r=…,s=salt,i=iterations`. */
  first(message: string): string {
    if (this.#state !== 'first') throw new ScramError('out of turn')
    this.#state = 'over'
    // "n" or "y": no channel binding. No other identity may be asked for.
    const parts = /^[ny],,(n=((?:[^,=]|=2C|=3D)+),r=([\x21-\x2b\x2d-\x7e]{8,128}))$/.exec(message)
    if (!parts) throw new ScramError('the first message is not one of SCRAM')
    const [, bare = '', encoded = '', clientNonce = ''] = parts
    this.#user = encoded.replaceAll('=2C', ',').replaceAll('=3D', '=')
    this.#verifier = this.find(this.#user) ?? decoy(this.#user, this.secret)
    this.#nonce = clientNonce + randomBytes(NONCE_BYTES).toString('base64')
    const answer = `r=${this.#nonce},s=${this.#verifier.salt},i=${this.#verifier.iterations}`
    this.#authMessage = `${bare},${answer}`
    this.#state = 'final'
    return answer
  }

  /** `c=biws,r=nonce,p=proof` → who it is, and `v=signature`. */
  final(message: string): { readonly user: string; readonly answer: string } {
    if (this.#state !== 'final' || !this.#verifier) throw new ScramError('out of turn')
    this.#state = 'over'
    const parts = /^(c=(?:biws|eSws),r=([\x21-\x2b\x2d-\x7e]+)),p=([A-Za-z0-9+/]{43}=)$/.exec(message)
    if (!parts) throw new ScramError('the final message is not one of SCRAM')
    const [, withoutProof = '', nonce = '', proof = ''] = parts
    if (nonce !== this.#nonce) throw new ScramError('the nonce is not the one of this login')
    const authMessage = `${this.#authMessage},${withoutProof}`
    const storedKey = Buffer.from(this.#verifier.storedKey, 'base64')
    const clientSignature = hmac(storedKey, authMessage)
    const clientKey = Buffer.from(proof, 'base64')
    for (const [at, byte] of clientSignature.entries()) clientKey[at] = (clientKey[at] ?? 0) ^ byte
    // A user that is gone, or has another password since the first message, does not get in.
    const current = this.find(this.#user)
    const fits = timingSafeEqual(sha256(clientKey), storedKey)
    if (!fits || current?.storedKey !== this.#verifier.storedKey) throw new ScramError('the proof does not fit')
    const signature = hmac(Buffer.from(this.#verifier.serverKey, 'base64'), authMessage)
    return { user: this.#user, answer: `v=${signature.toString('base64')}` }
  }
}
