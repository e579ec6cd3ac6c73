import { rm } from 'node:fs/promises'
import { stat } from 'node:fs/promises'
import { execute, type Pool, type PoolClient, sql } from '@bloomery/database/sql'
import type { Logger } from '@bloomery/telemetry'
import { z } from 'zod'
import { findPlan, type Offered } from '../catalog/catalog.js'
import { type BindingUser, type Engine, type Grant, type Instance, ServiceFault } from '../engines/engine.js'
import type { Backups } from '../backups/backups.js'
import { findBackup, findBinding, findInstance, listBindings, setBindingState, setInstanceState } from '../state/instances.js'
import { setStage } from '../state/operations.js'
import type { BindingRecord, InstanceRecord, OperationRecord } from '../state/records.js'
import type { Vault } from '../state/vault.js'
import type { OperationContext, Performer } from './runner.js'

type Settle = (tx: PoolClient) => Promise<void>

const UpdateOrder = z.object({
  fromPlanId: z.string(),
  planId: z.string(),
  parameters: z.record(z.string(), z.unknown()),
})
const BackupOrder = z.object({ backupId: z.string() })
const MIB = 1024 * 1024
/** By then the new servers of the change hold the data, and only the old ones are to be removed. */
const MOVED = 'moved'

/** What each kind of operation does; every step may be done again. */
export class ServicePerformer implements Performer {
  constructor(
    private readonly pool: Pool,
    private readonly engines: readonly Engine[],
    private readonly vault: Vault,
    private readonly backups: Backups,
    private readonly log: Logger,
  ) {}

  async perform(operation: OperationRecord, context: OperationContext): Promise<Settle> {
    const record = await findInstance(this.pool, operation.instanceGuid)
    if (!record) throw new ServiceFault('The service instance is not there any more.')
    const { engine, plan } = this.#offered(record, record.planId)
    const instance = { guid: record.guid, plan, parameters: record.parameters }
    switch (operation.kind) {
      case 'provision':
        await engine.provision(instance, context.signal)
        context.signal.throwIfAborted()
        return (tx) => setInstanceState(tx, record.guid, 'ready')
      case 'deprovision':
        return this.#deprovision(engine, instance)
      case 'update':
        return this.#update(operation, record, context)
      case 'bind':
        return this.#bind(engine, instance, record, await this.#binding(operation), context)
      case 'unbind':
        return this.#unbind(engine, instance, await this.#binding(operation))
      case 'backup':
        return this.#backup(engine, instance, record, operation, context)
      case 'restore':
        return this.#restore(engine, instance, record, operation, context)
    }
  }

  async fail(operation: OperationRecord, context: OperationContext): Promise<Settle> {
    const record = await findInstance(this.pool, operation.instanceGuid)
    if (!record) return () => Promise.resolve()
    const { engine, plan } = this.#offered(record, record.planId)
    const instance = { guid: record.guid, plan, parameters: record.parameters }
    switch (operation.kind) {
      case 'provision':
        await this.#tryTo('take away what was begun', operation, () => engine.deprovision(instance))
        return (tx) =>
          execute(tx, sql`UPDATE instances SET state = 'failed' WHERE guid = ${record.guid} AND state = 'provisioning'`).then(
            nothing,
          )
      case 'deprovision':
        // As it was, so that it may be asked for again.
        return (tx) => setInstanceState(tx, record.guid, 'failed')
      case 'bind': {
        const binding = await this.#binding(operation)
        await this.#tryTo('shut out whom it let in', operation, () => engine.unbind(instance, binding))
        return (tx) =>
          execute(
            tx,
            sql`UPDATE bindings SET state = 'failed' WHERE instance_guid = ${record.guid} AND guid = ${binding.guid} AND state = 'binding'`,
          ).then(nothing)
      }
      case 'unbind': {
        const binding = await this.#binding(operation)
        return (tx) => setBindingState(tx, binding, 'failed')
      }
      case 'update':
        return this.#giveUpMove(operation, record, engine, context)
      case 'backup': {
        const { backupId } = BackupOrder.parse(operation.request)
        await rm(await this.backups.file(record.guid, backupId), { force: true })
        return (tx) => execute(tx, sql`UPDATE backups SET state = 'failed' WHERE id = ${backupId}`).then(nothing)
      }
      case 'restore':
        return () => Promise.resolve()
    }
  }

  /** A server that is away must not keep a failure from being told: the row stays, and with it the deletion to come. */
  async #tryTo(what: string, { id }: OperationRecord, work: () => Promise<void>): Promise<void> {
    await work().catch((error: unknown) => this.log.warn({ operation: id, err: error }, `could not ${what}; the deletion will`))
  }

  #offered(record: InstanceRecord, planId: string): Offered {
    const offered = findPlan(this.engines, record.serviceId, planId)
    if (!offered) throw new Error(`no such plan any more: ${planId}`)
    return offered
  }

  async #binding(operation: OperationRecord): Promise<BindingRecord> {
    const binding = await findBinding(this.pool, operation.instanceGuid, operation.bindingGuid ?? '')
    if (!binding) throw new ServiceFault('The binding is not there any more.')
    return binding
  }

  #user(binding: BindingRecord): BindingUser {
    return {
      guid: binding.guid,
      username: binding.username,
      password: this.vault.open(binding.password, `binding:${binding.guid}`),
      parameters: binding.request.parameters,
    }
  }

  async #deprovision(engine: Engine, instance: Instance): Promise<Settle> {
    for (const binding of await listBindings(this.pool, instance.guid)) await engine.unbind(instance, binding)
    await engine.deprovision(instance)
    await this.backups.removeAll(instance.guid)
    return (tx) => execute(tx, sql`DELETE FROM instances WHERE guid = ${instance.guid}`).then(nothing)
  }

  async #bind(
    engine: Engine,
    instance: Instance,
    { exceeded }: InstanceRecord,
    binding: BindingRecord,
    { signal }: OperationContext,
  ): Promise<Settle> {
    const grant = await engine.bind(instance, this.#user(binding))
    // A new user of an instance that is over its limit may do no more than the others.
    if (exceeded) await engine.limit(instance, true)
    signal.throwIfAborted()
    return (tx) => this.#writeGrant(tx, binding, grant)
  }

  async #writeGrant(tx: PoolClient, binding: BindingRecord, grant: Grant): Promise<void> {
    const answer = JSON.stringify(this.vault.seal(JSON.stringify(grant), `grant:${binding.guid}`))
    await execute(
      tx,
      sql`UPDATE bindings SET state = 'ready', answer = ${answer}
          WHERE instance_guid = ${binding.instanceGuid} AND guid = ${binding.guid} AND state IN ('binding', 'ready')`,
    )
  }

  async #unbind(engine: Engine, instance: Instance, binding: BindingRecord): Promise<Settle> {
    await engine.unbind(instance, binding)
    return (tx) =>
      execute(tx, sql`DELETE FROM bindings WHERE instance_guid = ${instance.guid} AND guid = ${binding.guid}`).then(nothing)
  }

  async #update(operation: OperationRecord, record: InstanceRecord, context: OperationContext): Promise<Settle> {
    const order = UpdateOrder.parse(operation.request)
    const from = this.#instance(record, order.fromPlanId, record.parameters)
    const to = this.#instance(record, order.planId, order.parameters)
    const { engine } = this.#offered(record, order.planId)
    const write: Settle = (tx) =>
      execute(
        tx,
        sql`UPDATE instances SET plan_id = ${to.plan.id}, parameters = ${JSON.stringify(to.parameters)}, exceeded = false WHERE guid = ${record.guid}`,
      ).then(nothing)
    if (from.plan.style === to.plan.style) {
      await this.#requireRoom(engine, from, to)
      await engine.resize(from, to)
      // Measured anew against the other plan.
      if (record.exceeded) await engine.limit(to, false)
      return write
    }
    const bindings = (await listBindings(this.pool, record.guid)).filter(({ state }) => state === 'ready')
    if (operation.stage !== MOVED) {
      await this.#requireRoom(engine, from, to)
      await engine.copy(from, to, context.signal)
      const grants: [BindingRecord, Grant][] = []
      for (const binding of bindings) grants.push([binding, await engine.bind(to, this.#user(binding))])
      await context.record(async (tx) => {
        for (const [binding, grant] of grants) await this.#writeGrant(tx, binding, grant)
        await write(tx)
        await setStage(tx, operation.id, MOVED)
      })
    }
    for (const binding of bindings) await engine.unbind(from, binding)
    await engine.deprovision(from)
    return () => Promise.resolve()
  }

  /** The data are whole where they were: what was begun elsewhere goes, and writers are let in again. */
  async #giveUpMove(
    operation: OperationRecord,
    record: InstanceRecord,
    engine: Engine,
    context: OperationContext,
  ): Promise<Settle> {
    const order = UpdateOrder.parse(operation.request)
    const from = this.#instance(record, order.fromPlanId, record.parameters)
    const to = this.#instance(record, order.planId, order.parameters)
    if (from.plan.style === to.plan.style) return () => Promise.resolve()
    // Recorded already: nothing to give up, the rest is done at the next try.
    if (record.planId === to.plan.id) throw new Error('what is left of the former server could not be removed yet')
    context.signal.throwIfAborted()
    const bindings = await listBindings(this.pool, record.guid)
    for (const binding of bindings) await engine.unbind(to, binding)
    await engine.deprovision(to)
    await engine.reopen(
      from,
      bindings.filter(({ state }) => state === 'ready').map((binding) => this.#user(binding)),
    )
    if (record.exceeded) await engine.limit(from, true)
    return () => Promise.resolve()
  }

  #instance(record: InstanceRecord, planId: string, parameters: Instance['parameters']): Instance {
    return { guid: record.guid, plan: this.#offered(record, planId).plan, parameters }
  }

  async #requireRoom(engine: Engine, from: Instance, to: Instance): Promise<void> {
    if (to.plan.diskMb >= from.plan.diskMb) return
    const megabytes = Math.ceil((await engine.size(from)) / MIB)
    if (megabytes > to.plan.diskMb)
      throw new ServiceFault(
        `The data take ${megabytes} MB, and plan ${to.plan.name} allows ${to.plan.diskMb} MB. Delete some, or choose a larger plan.`,
      )
  }

  async #backup(
    engine: Engine,
    instance: Instance,
    record: InstanceRecord,
    operation: OperationRecord,
    { signal }: OperationContext,
  ): Promise<Settle> {
    const { backupId } = BackupOrder.parse(operation.request)
    const file = await this.backups.file(instance.guid, backupId)
    await engine.backup(instance, file, signal)
    const { size } = await stat(file)
    const superfluous = await this.backups.removeOldest(record, backupId)
    return async (tx) => {
      await execute(tx, sql`UPDATE backups SET state = 'made', bytes = ${size} WHERE id = ${backupId}`)
      await execute(tx, sql`DELETE FROM backups WHERE instance_guid = ${instance.guid} AND id = ANY(${superfluous})`)
    }
  }

  async #restore(
    engine: Engine,
    instance: Instance,
    { exceeded }: InstanceRecord,
    operation: OperationRecord,
    { signal }: OperationContext,
  ): Promise<Settle> {
    const { backupId } = BackupOrder.parse(operation.request)
    const backup = await findBackup(this.pool, instance.guid, backupId)
    if (backup?.state !== 'made') throw new ServiceFault(`There is no backup ${backupId} of this instance any more.`)
    await engine.restore(instance, await this.backups.file(instance.guid, backupId), signal)
    if (exceeded) await engine.limit(instance, true)
    return () => Promise.resolve()
  }
}

const nothing = (): void => undefined
