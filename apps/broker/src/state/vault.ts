import type { Keyring } from '@bloomery/secrets'

/** The broker's secrets at rest, under the keyring, each bound to its place. */
export class Vault {
  constructor(private readonly keyring: Keyring) {}

  seal(text: string, context: string): unknown {
    return this.keyring.encrypt(text, `broker:${context}`)
  }

  /** The key that new secrets are under. */
  get currentKeyId(): string {
    return this.keyring.currentKeyId
  }

  open(secret: unknown, context: string): string {
    return this.keyring.decrypt(secret, `broker:${context}`)
  }
}
