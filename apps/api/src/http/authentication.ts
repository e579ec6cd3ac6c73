import type { FastifyInstance } from 'fastify'
import { CfError } from '@bloomery/contracts'
import type { Context } from './context.js'
import type { Principal } from './principal.js'
import { Access, notAuthorized, PERMISSIONS } from './permissions.js'

/** Reads an access token; throws CfError InvalidAuthToken when it is expired, revoked, forged or not ours. */
export interface TokenVerifier {
  verify(token: string): Promise<Principal>
}

/** Who is calling, and whether a route of this permission is open to them at all. */
export function authenticate(app: FastifyInstance, context: Context, tokens: TokenVerifier): void {
  app.addHook('onRequest', async (request) => {
    const permission = request.routeOptions.config.permission
    if (!permission) return // unknown route: the not-found handler answers
    const rule = PERMISSIONS[permission]
    const header = request.headers.authorization
    if (header === undefined) {
      if (!rule.token) return
      throw new CfError('NotAuthenticated', 'Authentication error')
    }
    // Basic credentials belong to the token endpoint, which reads them itself.
    if (!rule.token && !('readsToken' in rule)) return
    const token = /^bearer (.+)$/i.exec(header)?.[1]
    if (!token) throw new CfError('InvalidAuthToken', 'Invalid Auth Token')
    request.principal = await tokens.verify(token)
    request.access = new Access(request.principal, context.pool)
    const { scopes } = request.principal
    const writes = rule.scope === 'write'
    const reads = scopes.has('cloud_controller.read') || request.access.isGlobalReader
    if (writes ? !(scopes.has('cloud_controller.write') || request.access.isAdmin) : rule.scope === 'read' && !reads)
      throw notAuthorized()
    if (rule.adminOnly && !request.access.isAdmin) throw notAuthorized()
    if ('anyOf' in rule && !rule.anyOf.some((scope) => scopes.has(scope))) throw notAuthorized()
  })
}
