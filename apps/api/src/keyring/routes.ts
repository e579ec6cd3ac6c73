import type { FastifyInstance } from 'fastify'
import type { Keyring } from '@bloomery/secrets'
import type { Reencryption } from './reencryption.js'

/** For operators: which key is current, and how many secrets still stand under the others. One with none may leave the keyring. */
export function keyringRoutes(app: FastifyInstance, keyring: Keyring, reencryption: Reencryption): void {
  app.get('/bloomery/v1/keyring', { config: { permission: 'admin' } }, async () => {
    const uses = await reencryption.uses()
    const current = keyring.currentKeyId
    const ids = new Set([...keyring.keyIds, ...Object.keys(uses)])
    return {
      current,
      keys: [...ids].sort().map((id) => ({ id, secrets: uses[id] ?? 0, in_keyring: keyring.keyIds.includes(id) })),
    }
  })
}
