import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Transaction } from '@bloomery/database'
import { CfError } from '@bloomery/contracts'
import { mayStart } from '@bloomery/domain'
import type { Context } from '../http/context.js'
import { unprocessable } from '../http/errors.js'
import type { OperationType } from './operation.js'

/** Writes the wish and its operation in one transaction, answers 202 with the job's address, and begins. */
export async function acceptOperation(
  context: Pick<Context, 'db' | 'operations'>,
  request: FastifyRequest,
  reply: FastifyReply,
  write: (tx: Transaction) => Promise<{ readonly jobGuid: string | undefined }>,
): Promise<FastifyReply> {
  const { jobGuid } = await context.db.$transaction(write)
  context.operations.kick()
  return reply
    .code(202)
    .header('location', `${request.baseUrl}/v3/jobs/${jobGuid ?? ''}`)
    .send({})
}

/**
 * Refuses what may not begin while others are at work on the instance, whose row the caller has locked. A delete of what is being
 * created goes to the broker, which decides.
 */
export async function requireIdle(
  tx: Transaction,
  instance: { readonly guid: string; readonly name: string },
  wanted: OperationType | 'bind' | 'unbind' = 'update',
): Promise<void> {
  const pending = await tx.serviceOperation.findMany({
    where: { resourceType: 'instance', resourceGuid: instance.guid },
    select: { type: true, phase: true },
  })
  if (
    mayStart(
      wanted === 'delete' ? 'delete' : 'update',
      pending.map(({ type, phase }) => ({ type: type as OperationType, accepted: phase === 'polling' })),
    )
  )
    return
  throw wanted !== 'update'
    ? unprocessable('There is an operation in progress for the service instance.')
    : new CfError('AsyncServiceInstanceOperationInProgress', `An operation for service instance ${instance.name} is in progress.`)
}
