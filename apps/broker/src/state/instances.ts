import { execute, type Queryable, rows, sql } from '@bloomery/database/sql'
import type { BackupRecord, BindingRecord, InstanceRecord } from './records.js'

const INSTANCE = sql`guid, service_id AS "serviceId", plan_id AS "planId", organization_guid AS "organizationGuid",
  space_guid AS "spaceGuid", context, parameters, state, schedule, keep_backups AS "keepBackups", next_backup_at AS "nextBackupAt", exceeded`
const BINDING = sql`guid, instance_guid AS "instanceGuid", request, username, password, answer, state`
const BACKUP = sql`id, instance_guid AS "instanceGuid", state, scheduled, bytes, plan_id AS "planId", created_at AS "createdAt"`

export async function findInstance(on: Queryable, guid: string): Promise<InstanceRecord | undefined> {
  return (await rows<InstanceRecord>(on, sql`SELECT ${INSTANCE} FROM instances WHERE guid = ${guid}`))[0]
}

/** Held until the transaction ends: requests about one instance are settled one after the other, also when it is not there yet. */
export async function lockInstance(tx: Queryable, guid: string): Promise<InstanceRecord | undefined> {
  await tx.query('SELECT pg_advisory_xact_lock(hashtextextended($1, 7))', [guid])
  return findInstance(tx, guid)
}

export const listInstances = (on: Queryable): Promise<InstanceRecord[]> =>
  rows<InstanceRecord>(on, sql`SELECT ${INSTANCE} FROM instances ORDER BY created_at`)

export async function findBinding(on: Queryable, instanceGuid: string, guid: string): Promise<BindingRecord | undefined> {
  const found = await rows<BindingRecord>(
    on,
    sql`SELECT ${BINDING} FROM bindings WHERE instance_guid = ${instanceGuid} AND guid = ${guid}`,
  )
  return found[0]
}

export const listBindings = (on: Queryable, instanceGuid: string): Promise<BindingRecord[]> =>
  rows<BindingRecord>(on, sql`SELECT ${BINDING} FROM bindings WHERE instance_guid = ${instanceGuid} ORDER BY created_at`)

export const listBackups = (on: Queryable, instanceGuid: string): Promise<BackupRecord[]> =>
  rows<BackupRecord>(on, sql`SELECT ${BACKUP} FROM backups WHERE instance_guid = ${instanceGuid} ORDER BY created_at DESC`)

export async function findBackup(on: Queryable, instanceGuid: string, id: string): Promise<BackupRecord | undefined> {
  return (
    await rows<BackupRecord>(on, sql`SELECT ${BACKUP} FROM backups WHERE instance_guid = ${instanceGuid} AND id = ${id}`)
  )[0]
}

export async function setInstanceState(on: Queryable, guid: string, state: InstanceRecord['state']): Promise<void> {
  await execute(on, sql`UPDATE instances SET state = ${state} WHERE guid = ${guid}`)
}

export async function setBindingState(
  on: Queryable,
  { instanceGuid, guid }: Pick<BindingRecord, 'instanceGuid' | 'guid'>,
  state: BindingRecord['state'],
): Promise<void> {
  await execute(on, sql`UPDATE bindings SET state = ${state} WHERE instance_guid = ${instanceGuid} AND guid = ${guid}`)
}
