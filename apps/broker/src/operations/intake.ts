import { isDeepStrictEqual } from 'node:util'
import type { BindRequest, ProvisionRequest, UpdateRequest } from '@bloomery/osb/protocol'
import { execute, type Pool, type PoolClient, sql, transaction } from '@bloomery/database/sql'
import type { z } from 'zod'
import { newBackupId } from '../backups/backups.js'
import { createParameters, findPlan, type Offered, updateParameters } from '../catalog/catalog.js'
import { BackupParameters, nextRun, UpdateParameters } from '../catalog/parameters.js'
import type { Engine } from '../engines/engine.js'
import { newPassword, shortName } from '../engines/names.js'
import { concurrencyError, gone, OsbError } from '../http/errors.js'
import { findBackup, findBinding, lockInstance } from '../state/instances.js'
import { addOperation, cancelOperation, openOperations, operationOfRequest } from '../state/operations.js'
import type { BindingRecord, BindingRequest, InstanceRecord, OperationRecord } from '../state/records.js'
import type { Vault } from '../state/vault.js'

/** `done`: it is as asked for; `made`: so it has been made, in this transaction; `started`: an operation is under way. */
export type Taken =
  | { readonly outcome: 'done'; readonly binding?: BindingRecord }
  | { readonly outcome: 'started'; readonly operation: OperationRecord; readonly again: boolean }

const DEFAULT_KEPT = 7

/** Decides on what platforms ask for, writes it down with its operation in one transaction, and so survives whatever happens next. */
export class Intake {
  constructor(
    private readonly pool: Pool,
    private readonly engines: readonly Engine[],
    private readonly vault: Vault,
    private readonly clock: () => Date = () => new Date(),
  ) {}

  provision(guid: string, request: ProvisionRequest): Promise<Taken> {
    const offered = this.#offered(request.service_id, request.plan_id)
    refuseMaintenance(request.maintenance_info)
    const parameters = checked(createParameters(offered.engine), request.parameters)
    const { schedule, keep, own } = splitBackups(parameters)
    return this.#settle(guid, async (tx, instance) => {
      if (instance) return this.#provisionAgain(tx, instance, request, own, schedule ?? null)
      await execute(
        tx,
        sql`INSERT INTO instances (guid, service_id, plan_id, organization_guid, space_guid, context, parameters, state, schedule, keep_backups, next_backup_at)
            VALUES (${guid}, ${request.service_id}, ${request.plan_id}, ${request.organization_guid}, ${request.space_guid},
              ${JSON.stringify(request.context ?? null)}, ${JSON.stringify(own)}, 'provisioning', ${schedule || null}, ${keep ?? DEFAULT_KEPT},
              ${schedule ? nextRun(schedule, this.clock()) : null})`,
      )
      return this.#start(tx, { instanceGuid: guid, kind: 'provision', request: {} })
    })
  }

  async #provisionAgain(
    tx: PoolClient,
    instance: InstanceRecord,
    request: ProvisionRequest,
    parameters: InstanceRecord['parameters'],
    schedule: string | null,
  ): Promise<Taken> {
    const [open] = await openOperations(tx, instance.guid)
    if (instance.state === 'deleting') throw concurrencyError('The deletion of this service instance')
    const same =
      instance.serviceId === request.service_id &&
      instance.planId === request.plan_id &&
      instance.organizationGuid === request.organization_guid &&
      instance.spaceGuid === request.space_guid &&
      instance.schedule === (schedule || null) &&
      isDeepStrictEqual(instance.parameters, parameters)
    if (!same) throw new OsbError(409, 'There is a service instance of this id with other attributes.')
    if (open?.kind === 'provision') return { outcome: 'started', operation: open, again: true }
    if (instance.state !== 'failed') return { outcome: 'done' }
    await execute(tx, sql`UPDATE instances SET state = 'provisioning' WHERE guid = ${instance.guid}`)
    return this.#start(tx, { instanceGuid: instance.guid, kind: 'provision', request: {} })
  }

  /** `identity`: of the request; one that comes again (its answer was lost) is answered with the operation that it has. */
  update(guid: string, request: UpdateRequest, identity?: string): Promise<Taken> {
    refuseMaintenance(request.maintenance_info)
    return this.#settle(guid, async (tx, instance) => {
      if (!instance) throw new OsbError(404, 'There is no such service instance.')
      if (instance.serviceId !== request.service_id)
        throw new OsbError(400, 'service_id: this service instance is of another service offering.')
      const known = identity === undefined ? undefined : await operationOfRequest(tx, guid, identity)
      if (known) return { outcome: 'started', operation: known, again: true }
      const [open] = await openOperations(tx, guid)
      if (open) throw concurrencyError('Another operation on this service instance')
      if (instance.state !== 'ready')
        throw new OsbError(422, 'This service instance was never made; delete it and create it again.')
      const planId = request.plan_id ?? instance.planId
      const offered = this.#offered(request.service_id, planId)
      const parameters = checked(updateParameters(offered.engine), request.parameters)
      if (request.context)
        await execute(tx, sql`UPDATE instances SET context = ${JSON.stringify(request.context)} WHERE guid = ${guid}`)
      return this.#updateParts(tx, instance, planId, parameters, identity)
    })
  }

  async #updateParts(
    tx: PoolClient,
    instance: InstanceRecord,
    planId: string,
    given: Readonly<Record<string, unknown>>,
    requestIdentity: string | undefined,
  ): Promise<Taken> {
    const { backup, restore, schedule, keep, own } = splitBackups(given)
    const parameters = { ...instance.parameters, ...own }
    const changes = planId !== instance.planId || !isDeepStrictEqual(parameters, instance.parameters)
    if ([changes, backup === true, restore !== undefined].filter(Boolean).length > 1)
      throw new OsbError(400, 'A backup, a restore and other changes are operations of their own; ask for one at a time.')
    if (schedule !== undefined || keep !== undefined) await this.#writeSchedule(tx, instance, schedule, keep)
    const { guid: instanceGuid } = instance
    if (backup === true) return this.#start(tx, { ...(await this.newBackup(tx, instance, false)), requestIdentity })
    if (restore !== undefined) {
      const found = await findBackup(tx, instanceGuid, restore)
      if (found?.state !== 'made')
        throw new OsbError(400, `restore: this service instance has no backup '${restore}'; its parameters list those it has.`)
      return this.#start(tx, { instanceGuid, kind: 'restore', request: { backupId: restore }, requestIdentity })
    }
    if (!changes) return { outcome: 'done' }
    const order = { fromPlanId: instance.planId, planId, parameters }
    return this.#start(tx, { instanceGuid, kind: 'update', request: order, requestIdentity })
  }

  async #writeSchedule(
    tx: PoolClient,
    instance: InstanceRecord,
    schedule: string | undefined,
    keep: number | undefined,
  ): Promise<void> {
    const wanted = schedule === undefined ? instance.schedule : schedule || null
    await execute(
      tx,
      sql`UPDATE instances SET schedule = ${wanted}, keep_backups = ${keep ?? instance.keepBackups},
            next_backup_at = ${wanted === null ? null : nextRun(wanted, this.clock())} WHERE guid = ${instance.guid}`,
    )
  }

  /** Writes the row of a backup that is about to be made; answers the operation to add. */
  async newBackup(tx: PoolClient, instance: InstanceRecord, scheduled: boolean) {
    const backupId = newBackupId(this.clock())
    await execute(
      tx,
      sql`INSERT INTO backups (id, instance_guid, state, scheduled, plan_id)
          VALUES (${backupId}, ${instance.guid}, 'making', ${scheduled}, ${instance.planId})`,
    )
    return { instanceGuid: instance.guid, kind: 'backup' as const, request: { backupId } }
  }

  deprovision(guid: string, serviceId: string): Promise<Taken> {
    return this.#settle(guid, async (tx, instance) => {
      if (!instance) throw gone('such service instance')
      if (instance.serviceId !== serviceId)
        throw new OsbError(400, 'service_id: this service instance is of another service offering.')
      const open = await openOperations(tx, guid)
      const deleting = open.find(({ kind }) => kind === 'deprovision')
      if (deleting) return { outcome: 'started', operation: deleting, again: true }
      for (const operation of open)
        if (operation.kind === 'provision') await cancelOperation(tx, operation.id)
        else throw concurrencyError('Another operation on this service instance')
      await execute(tx, sql`UPDATE instances SET state = 'deleting', next_backup_at = NULL WHERE guid = ${guid}`)
      return this.#start(tx, { instanceGuid: guid, kind: 'deprovision', request: {} })
    })
  }

  bind(instanceGuid: string, guid: string, request: BindRequest): Promise<Taken> {
    const { engine } = this.#offered(request.service_id, request.plan_id)
    const wanted: BindingRequest = {
      serviceId: request.service_id,
      planId: request.plan_id,
      appGuid: request.bind_resource?.app_guid ?? request.app_guid ?? null,
      bindResource: request.bind_resource ?? {},
      parameters: checked(engine.offering.parameters.bind, request.parameters),
    }
    return this.#settle(instanceGuid, async (tx, instance) => {
      if (!instance || instance.state === 'deleting') throw new OsbError(404, 'There is no such service instance.')
      if (instance.serviceId !== request.service_id)
        throw new OsbError(400, 'service_id: this service instance is of another service offering.')
      const binding = await findBinding(tx, instanceGuid, guid)
      const open = await openOperations(tx, instanceGuid)
      const own = open.findLast(({ bindingGuid }) => bindingGuid === guid)
      if (binding && !sameBinding(binding.request, wanted))
        throw new OsbError(409, 'There is a binding of this id with other attributes.')
      if (own?.kind === 'unbind') throw concurrencyError('The deletion of this binding')
      if (own) return { outcome: 'started', operation: own, again: true }
      if (binding?.state === 'ready') return { outcome: 'done', binding }
      if (open.some(({ bindingGuid }) => bindingGuid === null)) throw concurrencyError('An operation on this service instance')
      if (instance.state !== 'ready')
        throw new OsbError(404, 'This service instance was never made; delete it and create it again.')
      await this.#writeBinding(tx, instanceGuid, guid, wanted)
      return this.#start(tx, { instanceGuid, bindingGuid: guid, kind: 'bind', request: {} })
    })
  }

  async #writeBinding(tx: PoolClient, instanceGuid: string, guid: string, request: BindingRequest): Promise<void> {
    // Password and name are settled before any server hears of them: doing it again gives the same.
    const username = shortName('u', `${instanceGuid}/${guid}`)
    const password = JSON.stringify(this.vault.seal(newPassword(), `binding:${guid}`))
    await execute(
      tx,
      sql`INSERT INTO bindings (instance_guid, guid, request, username, password, state)
          VALUES (${instanceGuid}, ${guid}, ${JSON.stringify(request)}, ${username}, ${password}, 'binding')
          ON CONFLICT (instance_guid, guid) DO UPDATE SET state = 'binding'`,
    )
  }

  unbind(instanceGuid: string, guid: string, serviceId: string): Promise<Taken> {
    return this.#settle(instanceGuid, async (tx, instance) => {
      const binding = instance && (await findBinding(tx, instanceGuid, guid))
      if (!binding) throw gone('such binding')
      if (instance.serviceId !== serviceId)
        throw new OsbError(400, 'service_id: this service instance is of another service offering.')
      const open = await openOperations(tx, instanceGuid)
      const own = open.filter(({ bindingGuid }) => bindingGuid === guid)
      const under = own.find(({ kind }) => kind === 'unbind')
      if (under) return { outcome: 'started', operation: under, again: true }
      if (open.some(({ bindingGuid }) => bindingGuid === null)) throw concurrencyError('An operation on this service instance')
      for (const { id } of own) await cancelOperation(tx, id)
      await execute(tx, sql`UPDATE bindings SET state = 'unbinding' WHERE instance_guid = ${instanceGuid} AND guid = ${guid}`)
      return this.#start(tx, { instanceGuid, bindingGuid: guid, kind: 'unbind', request: {} })
    })
  }

  #settle(guid: string, decide: (tx: PoolClient, instance: InstanceRecord | undefined) => Promise<Taken>): Promise<Taken> {
    return transaction(this.pool, async (tx) => decide(tx, await lockInstance(tx, guid)))
  }

  async #start(tx: PoolClient, operation: Parameters<typeof addOperation>[1]): Promise<Taken> {
    return { outcome: 'started', operation: await addOperation(tx, operation), again: false }
  }

  #offered(serviceId: string, planId: string): Offered {
    const offered = findPlan(this.engines, serviceId, planId)
    if (!offered) throw new OsbError(400, 'service_id, plan_id: the catalog has no such service offering with such a plan.')
    return offered
  }
}

const sameBinding = (a: BindingRequest, b: BindingRequest): boolean =>
  a.serviceId === b.serviceId &&
  a.appGuid === b.appGuid &&
  isDeepStrictEqual(a.bindResource, b.bindResource) &&
  isDeepStrictEqual(a.parameters, b.parameters)

/** No plan of ours has a maintenance_info. */
function refuseMaintenance(asked: unknown): void {
  if (asked !== undefined)
    throw new OsbError(422, 'This plan has no maintenance_info; fetch the catalog again.', 'MaintenanceInfoConflict')
}

function checked(schema: z.ZodObject, parameters: unknown): Readonly<Record<string, unknown>> {
  const result = schema.safeParse(parameters ?? {})
  if (result.success) return result.data
  const faults = result.error.issues.map(({ path, message }) => [path.join('.'), message].filter(Boolean).join(': '))
  throw new OsbError(400, `parameters: ${faults.join('; ')}`)
}

/** What concerns backups, and what is the engine's own. */
function splitBackups(parameters: Readonly<Record<string, unknown>>) {
  const { backup, restore, schedule, keep_backups: keep } = UpdateParameters.partial().loose().parse(parameters)
  const ofBackups = [...Object.keys(UpdateParameters.shape), ...Object.keys(BackupParameters.shape)]
  const own = Object.fromEntries(Object.entries(parameters).filter(([name]) => !ofBackups.includes(name)))
  return { backup, restore, schedule, keep, own }
}
