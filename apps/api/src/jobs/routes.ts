import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Job, Transaction } from '@bloomery/database'
import type { Context } from '../http/context.js'
import { isAdmin } from '../http/principal.js'
import { notFound } from '../http/errors.js'
import type { JobActor } from './jobs.js'

export const actorOf = (request: FastifyRequest): JobActor => ({
  guid: request.principal.guid,
  name: request.principal.name,
  kind: request.principal.kind,
  isAdmin: isAdmin(request.principal),
})

const presentJob = (job: Job, baseUrl: string) => ({
  guid: job.guid,
  created_at: job.createdAt.toISOString(),
  updated_at: job.updatedAt.toISOString(),
  operation: job.operation,
  state: job.state,
  errors: job.errors,
  warnings: job.warnings,
  links: {
    self: { href: `${baseUrl}/v3/jobs/${job.guid}` },
    ...(job.resourceType && job.resourceGuid
      ? { [job.resourceType]: { href: `${baseUrl}/v3/${job.resourceType}/${job.resourceGuid}` } }
      : {}),
  },
})

export function jobRoutes(app: FastifyInstance, { db, changes }: Context): void {
  app.get<{ Params: { guid: string } }>('/v3/jobs/:guid', { config: { permission: 'authenticated' } }, async (request) => {
    const { guid } = request.params
    const job = await changes.readWhenSettled(
      'job',
      guid,
      () => db.job.findUnique({ where: { guid } }),
      (found) => found === null || found.state === 'COMPLETE' || found.state === 'FAILED',
    )
    if (!job) throw notFound('Job')
    return presentJob(job, request.baseUrl)
  })
}

/** Creates a job together with the desired state it stands for, answers 202 with its address, and starts it. */
export async function accept(
  context: Context,
  request: FastifyRequest,
  reply: FastifyReply,
  job: { operation: string; params: unknown; resourceType?: string; resourceGuid?: string },
  alongside: (tx: Transaction) => Promise<void> = () => Promise.resolve(),
): Promise<FastifyReply> {
  const guid = await context.db.$transaction(async (tx) => {
    await alongside(tx)
    return context.jobs.create(tx, { ...job, actor: actorOf(request) })
  })
  context.jobs.kick(guid)
  return reply.code(202).header('location', `${request.baseUrl}/v3/jobs/${guid}`).send({})
}
