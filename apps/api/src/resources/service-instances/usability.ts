import { isDeepStrictEqual } from 'node:util'
import type { CfError } from '@bloomery/contracts'
import { Prisma, type ServiceInstance } from '@bloomery/database'
import type { Keyring } from '@bloomery/secrets'
import { z } from 'zod'
import { unprocessable } from '../../http/errors.js'
import type { OperationFailure, OperationType } from '../../service-operations/operation.js'
import { readLastOperation } from './last-operation.js'

/** Where an update that must not be repeated is bound to in the keyring: its parameters may hold anything. */
export const refusedUpdateContext = (guid: string): string => `refused-update:${guid}`

/** As much of an update as makes it the same one. */
const SameUpdate = z.object({
  planGuid: z.string(),
  maintenanceVersion: z.string().optional(),
  parameters: z.record(z.string(), z.unknown()).optional(),
})
type SameUpdate = z.infer<typeof SameUpdate>

/** How an instance is kept after its broker has failed to change or delete it. */
export const afterFailure = (
  keyring: Keyring,
  guid: string,
  failure: OperationFailure,
  update?: SameUpdate,
): Pick<Prisma.ServiceInstanceUncheckedUpdateManyInput, 'usable' | 'refusedUpdateEncrypted'> => ({
  // Once it does not serve, only a success says otherwise.
  ...(failure.instanceUsable === false ? { usable: false } : {}),
  ...(update && failure.updateRepeatable === false
    ? { refusedUpdateEncrypted: { ...keyring.encryptJson(SameUpdate.parse(update), refusedUpdateContext(guid)) } }
    : {}),
})

/** What a success takes back. */
export const USABLE_AGAIN = { usable: true, refusedUpdateEncrypted: Prisma.DbNull } as const

const SAYS = 'The service broker says that the service instance cannot be used any more'

/** For `last_operation.description`, where users look. */
export const describeFailure = (type: OperationType, { description, instanceUsable }: OperationFailure): string =>
  instanceUsable === false ? `${asSentence(description)} ${SAYS}: ${REMEDIES[type]}.` : description

const asSentence = (text: string): string => `${text.replace(/[.\s]*$/, '')}.`

/** What an operator's word takes back, who has repaired the instance at its broker; what failed is told of still. */
export function afterRepair({
  lastOperation,
}: Pick<ServiceInstance, 'lastOperation'>): Pick<
  Prisma.ServiceInstanceUncheckedUpdateInput,
  'usable' | 'refusedUpdateEncrypted' | 'lastOperation'
> {
  const last = readLastOperation(lastOperation)
  if (last?.state !== 'failed') return USABLE_AGAIN
  const [failure] = (last.description ?? '').split(` ${SAYS}`)
  const description = `${asSentence(failure ?? '')} An operator has declared the service instance repaired since.`
  return { ...USABLE_AGAIN, lastOperation: { ...(lastOperation as Prisma.JsonObject), description } }
}

const REMEDIES: Record<OperationType, string> = {
  create: 'delete it',
  update: 'repair it with another update, or delete it',
  delete: 'delete it again',
}

/** Undefined where the instance serves; else what to tell whoever wants to bind it. */
export function unusable(instance: Pick<ServiceInstance, 'name' | 'usable' | 'lastOperation'>): CfError | undefined {
  if (instance.usable) return undefined
  return unprocessable(
    `The service instance ${instance.name} cannot be used: its service broker said so when it failed to ${failedType(instance)} it. ` +
      `To go on, ${REMEDIES[failedType(instance)]}, or ask the operator of the service broker.`,
  )
}

/** Undefined where the broker may be asked for this update; else why it is not. */
export function refusedUpdate(
  keyring: Keyring,
  instance: Pick<ServiceInstance, 'guid' | 'name' | 'usable' | 'lastOperation' | 'refusedUpdateEncrypted'>,
  wanted: SameUpdate,
): CfError | undefined {
  // What is half deleted can only be deleted.
  if (!instance.usable && failedType(instance) === 'delete') return unusable(instance)
  if (instance.refusedUpdateEncrypted === null) return undefined
  const refused = keyring.decryptJson(instance.refusedUpdateEncrypted, refusedUpdateContext(instance.guid), SameUpdate)
  if (!isDeepStrictEqual(refused, SameUpdate.parse(JSON.parse(JSON.stringify(wanted))))) return undefined
  return unprocessable(
    `The service broker has failed this update of service instance ${instance.name}, and said that it would fail again. ` +
      'Ask for another plan, version or other parameters.',
  )
}

const failedType = ({ lastOperation }: Pick<ServiceInstance, 'lastOperation'>): OperationType =>
  readLastOperation(lastOperation)?.type === 'delete' ? 'delete' : 'update'
