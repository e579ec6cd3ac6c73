import type { FastifyInstance } from 'fastify'
import { isUniqueViolation, type OauthClient } from '@bloomery/database'
import { z } from 'zod'
import { recordAudit } from '../http/audit.js'
import type { Context } from '../http/context.js'
import { actorOf } from '../jobs/routes.js'
import { OauthError } from './oauth-error.js'
import { hashPassword } from './passwords.js'

const CreateClient = z.object({
  client_id: z.string().regex(/^[A-Za-z0-9_.-]{1,200}$/),
  client_secret: z.string().min(1),
  authorized_grant_types: z.array(z.enum(['client_credentials', 'password', 'refresh_token'])).min(1),
  /** What the client may do by itself (client_credentials), and what it passes on of a user's scopes. */
  authorities: z.array(z.string()).default([]),
  scope: z.array(z.string()).default([]),
  access_token_validity: z.number().int().min(60).default(43_200),
  refresh_token_validity: z.number().int().min(60).default(2_592_000),
})
interface ById {
  Params: { id: string }
}

/** Service accounts. */
export function clientRoutes(app: FastifyInstance, { db }: Context): void {
  const find = async (id: string): Promise<OauthClient> => {
    const client = await db.oauthClient.findUnique({ where: { clientId: id } })
    if (!client) throw new OauthError('not_found', `No client with requested id: ${id}`)
    return client
  }

  app.get<ById>('/oauth/clients/:id', { config: { permission: 'clients.read' } }, async (request) =>
    presentClient(await find(request.params.id)),
  )

  app.post('/oauth/clients', { config: { permission: 'clients.write' } }, async (request, reply) => {
    const parsed = CreateClient.safeParse(request.body)
    if (!parsed.success) throw new OauthError('invalid_request', z.prettifyError(parsed.error))
    const input = parsed.data
    const secretHash = await hashPassword(input.client_secret)
    try {
      const client = await db.$transaction(async (tx) => {
        await recordAudit(tx, actorOf(request), {
          type: 'audit.client.create',
          target: { type: 'client', guid: input.client_id, name: input.client_id },
        })
        return tx.oauthClient.create({
          data: {
            clientId: input.client_id,
            secretHash,
            grantTypes: input.authorized_grant_types,
            scopes: [...new Set([...input.authorities, ...input.scope])],
            accessTokenSeconds: input.access_token_validity,
            refreshTokenSeconds: input.refresh_token_validity,
          },
        })
      })
      return await reply.code(201).send(presentClient(client))
    } catch (error) {
      throw isUniqueViolation(error)
        ? new OauthError('client_already_exists', `Client already exists: ${input.client_id}`)
        : error
    }
  })

  app.delete<ById>('/oauth/clients/:id', { config: { permission: 'clients.write' } }, async (request) => {
    const client = await find(request.params.id)
    await db.$transaction(async (tx) => {
      await tx.oauthClient.delete({ where: { clientId: client.clientId } })
      await recordAudit(tx, actorOf(request), {
        type: 'audit.client.delete',
        target: { type: 'client', guid: client.clientId, name: client.clientId },
      })
    })
    return presentClient(client)
  })
}

const presentClient = (client: OauthClient) => ({
  client_id: client.clientId,
  name: client.clientId,
  scope: client.scopes,
  authorities: client.grantTypes.includes('client_credentials') ? client.scopes : [],
  resource_ids: ['none'],
  authorized_grant_types: client.grantTypes,
  access_token_validity: client.accessTokenSeconds,
  ...(client.refreshTokenSeconds === null ? {} : { refresh_token_validity: client.refreshTokenSeconds }),
  lastModified: client.createdAt.getTime(),
})
