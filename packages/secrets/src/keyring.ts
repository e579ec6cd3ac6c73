import { createCipheriv, createDecipheriv, createHmac, randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { Encrypted } from '@bloomery/contracts'
import { z } from 'zod'

const KeyringFile = z.object({
  version: z.literal(1),
  current: z.string(),
  keys: z.record(z.string(), z.string().regex(/^[A-Za-z0-9+/=]{44}$/, 'a key is 32 bytes in base64')),
})

const REREAD_EVERY_MS = 5_000
const MISSING_EVERY_MS = 100

/** A keyring that cannot be used: its file is missing a key, unreadable or malformed. */
export class KeyringError extends Error {
  override readonly name = 'KeyringError'
}

/** The keys of a keyring at one moment. */
interface KeyringKeys {
  readonly current: string
  readonly keys: ReadonlyMap<string, Buffer>
}

/**
 * Encrypts and decrypts secrets at rest under one of several named 256-bit keys; new secrets use the current one. `reread` gives the
 * keys as they are now (undefined: unchanged, or not readable): a rotation reaches a running role so.
 */
export class Keyring {
  #current: string
  #keys: ReadonlyMap<string, Buffer>
  #readAt = Date.now()

  constructor(
    current: string,
    keys: ReadonlyMap<string, Buffer>,
    private readonly reread: () => KeyringKeys | undefined = () => undefined,
  ) {
    if (!keys.has(current)) throw new KeyringError(`The keyring's current key '${current}' is not among its keys.`)
    this.#current = current
    this.#keys = keys
  }

  get currentKeyId(): string {
    this.#refresh(REREAD_EVERY_MS)
    return this.#current
  }

  /** `context` binds the secret to its place (e.g. "app:<guid>"): moved elsewhere it does not decrypt. */
  encrypt(plaintext: string, context: string): Encrypted {
    const nonce = randomBytes(12)
    const cipher = createCipheriv('aes-256-gcm', this.#key(this.currentKeyId), nonce)
    cipher.setAAD(Buffer.from(context))
    const ciphertext = Buffer.concat([cipher.update(plaintext, 'utf8'), cipher.final(), cipher.getAuthTag()])
    return { kid: this.currentKeyId, nonce: nonce.toString('base64'), ciphertext: ciphertext.toString('base64') }
  }

  decrypt(secret: unknown, context: string): string {
    const { kid, nonce, ciphertext } = Encrypted.parse(secret)
    const bytes = Buffer.from(ciphertext, 'base64')
    const decipher = createDecipheriv('aes-256-gcm', this.#key(kid), Buffer.from(nonce, 'base64'))
    decipher.setAAD(Buffer.from(context))
    decipher.setAuthTag(bytes.subarray(-16))
    return Buffer.concat([decipher.update(bytes.subarray(0, -16)), decipher.final()]).toString('utf8')
  }

  encryptJson(value: unknown, context: string): Encrypted {
    return this.encrypt(JSON.stringify(value), context)
  }

  decryptJson<T>(secret: unknown, context: string, schema: z.ZodType<T>): T {
    return schema.parse(JSON.parse(this.decrypt(secret, context)))
  }

  /** A key for another purpose (signed addresses, cookies), derived from the key with this id, so that nothing else need be stored. */
  derive(purpose: string, keyId = this.currentKeyId): Buffer {
    return createHmac('sha256', this.#key(keyId)).update(`bloomery:${purpose}`).digest()
  }

  get keyIds(): readonly string[] {
    this.#refresh(REREAD_EVERY_MS)
    return [...this.#keys.keys()]
  }

  #refresh(afterMs: number): void {
    if (Date.now() - this.#readAt < afterMs) return
    this.#readAt = Date.now()
    const now = this.reread()
    if (!now?.keys.has(now.current)) return
    // What was there once is kept while the process lives: it may still meet secrets of that key.
    this.#keys = new Map([...this.#keys, ...now.keys])
    this.#current = now.current
  }

  #key(kid: string): Buffer {
    // Another role may have encrypted with a key that came after we looked.
    if (!this.#keys.has(kid)) this.#refresh(MISSING_EVERY_MS)
    const key = this.#keys.get(kid)
    if (!key) throw new KeyringError(`The key '${kid}' is not in the keyring; restore it, or what was encrypted with it is lost.`)
    return key
  }
}

/** Reads the keyring file; with `create`, makes one (mode 0600) where none is. */
export function loadKeyring(path: string, options: { create?: boolean } = {}): Keyring {
  if (!existsSync(path)) {
    if (!options.create)
      throw new KeyringError(`No keyring at ${path}; set BLOOMERY_KEYRING_FILE, or start the api once to make it.`)
    writeKeyring(path, 'k1', new Map([['k1', randomBytes(32)]]))
  }
  const { current, keys } = readKeyring(path)
  let seen = stamp(path)
  return new Keyring(current, keys, () => {
    const now = stamp(path)
    if (now === undefined || now === seen) return undefined
    try {
      const read = readKeyring(path)
      seen = now
      return read
    } catch {
      // Being written just now, or spoilt: what we have goes on being good.
      return undefined
    }
  })
}

function readKeyring(path: string): KeyringKeys {
  const parsed = KeyringFile.safeParse(JSON.parse(readFileSync(path, 'utf8')))
  if (!parsed.success) throw new KeyringError(`The keyring at ${path} is malformed: ${z.prettifyError(parsed.error)}`)
  const { current, keys } = parsed.data
  return { current, keys: new Map(Object.entries(keys).map(([kid, key]) => [kid, Buffer.from(key, 'base64')])) }
}

/** Changes whenever the file does. */
function stamp(path: string): string | undefined {
  const found = statSync(path, { throwIfNoEntry: false })
  return found && `${found.ino}:${found.mtimeMs}:${found.size}`
}

function writeKeyring(path: string, current: string, keys: ReadonlyMap<string, Buffer>): void {
  mkdirSync(dirname(path), { recursive: true })
  const file = { version: 1, current, keys: Object.fromEntries([...keys].map(([kid, key]) => [kid, key.toString('base64')])) }
  writeFileSync(`${path}.new`, JSON.stringify(file, null, 2), { mode: 0o600 })
  renameSync(`${path}.new`, path)
}
