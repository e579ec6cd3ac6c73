import { randomUUID } from 'node:crypto'
import { execute, type Queryable, rows, sql } from '@bloomery/database/sql'
import type { OperationKind, OperationRecord } from './records.js'

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
const OPERATION = sql`id, instance_guid AS "instanceGuid", binding_guid AS "bindingGuid", kind, request, stage, state, description, cancelled`

export async function addOperation(
  tx: Queryable,
  operation: {
    readonly instanceGuid: string
    readonly bindingGuid?: string
    readonly kind: OperationKind
    readonly request: Readonly<Record<string, unknown>>
    /** By which the platform's request is known again. */
    readonly requestIdentity?: string | undefined
  },
): Promise<OperationRecord> {
  const found = await rows<OperationRecord>(
    tx,
    sql`INSERT INTO operations (id, instance_guid, binding_guid, kind, request, request_identity)
        VALUES (${randomUUID()}, ${operation.instanceGuid}, ${operation.bindingGuid ?? null}, ${operation.kind},
          ${JSON.stringify(operation.request)}, ${operation.requestIdentity ?? null})
        RETURNING ${OPERATION}`,
  )
  const [made] = found
  if (!made) throw new Error('An operation was not written.')
  return made
}

export async function findOperation(on: Queryable, id: string): Promise<OperationRecord | undefined> {
  // Whoever asks may name it as they like; compared as text, each question would read the whole table.
  if (!UUID.test(id)) return undefined
  return (await rows<OperationRecord>(on, sql`SELECT ${OPERATION} FROM operations WHERE id = ${id}`))[0]
}

/** What a request of the platform has begun, however often it is sent. */
export async function operationOfRequest(
  on: Queryable,
  instanceGuid: string,
  requestIdentity: string,
): Promise<OperationRecord | undefined> {
  const found = await rows<OperationRecord>(
    on,
    sql`SELECT ${OPERATION} FROM operations WHERE instance_guid = ${instanceGuid} AND request_identity = ${requestIdentity}`,
  )
  return found[0]
}

/** The newest of an instance (`bindingGuid` null) or of a binding. */
export async function latestOperation(
  on: Queryable,
  instanceGuid: string,
  bindingGuid: string | null,
): Promise<OperationRecord | undefined> {
  const found = await rows<OperationRecord>(
    on,
    sql`SELECT ${OPERATION} FROM operations
        WHERE instance_guid = ${instanceGuid} AND binding_guid IS NOT DISTINCT FROM ${bindingGuid} ORDER BY seq DESC LIMIT 1`,
  )
  return found[0]
}

export const openOperations = (on: Queryable, instanceGuid: string): Promise<OperationRecord[]> =>
  rows<OperationRecord>(
    on,
    sql`SELECT ${OPERATION} FROM operations WHERE state = 'in progress' AND instance_guid = ${instanceGuid} ORDER BY seq`,
  )

export const allOpenOperations = (on: Queryable): Promise<OperationRecord[]> =>
  rows<OperationRecord>(on, sql`SELECT ${OPERATION} FROM operations WHERE state = 'in progress' ORDER BY seq`)

export async function cancelOperation(tx: Queryable, id: string): Promise<void> {
  await execute(tx, sql`UPDATE operations SET cancelled = true WHERE id = ${id} AND state = 'in progress'`)
}

export async function finishOperation(
  tx: Queryable,
  id: string,
  state: 'succeeded' | 'failed',
  description: string | null,
): Promise<void> {
  await execute(
    tx,
    sql`UPDATE operations SET state = ${state}, description = ${description}, finished_at = now() WHERE id = ${id} AND state = 'in progress'`,
  )
}

export async function setStage(tx: Queryable, id: string, stage: string): Promise<void> {
  await execute(tx, sql`UPDATE operations SET stage = ${stage} WHERE id = ${id}`)
}

/** What nobody will ask about any more. */
export async function forgetOldOperations(on: Queryable): Promise<void> {
  await execute(on, sql`DELETE FROM operations WHERE finished_at < now() - interval '8 days'`)
}
