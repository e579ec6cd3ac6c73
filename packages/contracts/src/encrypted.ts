import { z } from 'zod'

/** A secret at rest: AES-256-GCM under the keyring's key `kid`; nonce and ciphertext (with tag) in base64. */
export const Encrypted = z.object({ kid: z.string(), nonce: z.string(), ciphertext: z.string() })
export type Encrypted = z.infer<typeof Encrypted>
