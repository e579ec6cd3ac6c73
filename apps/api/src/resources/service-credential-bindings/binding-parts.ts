import type { Prisma } from '@bloomery/database'
import { BOUND_INSTANCE } from '../../service-bindings/bound-instance.js'

/** A credential binding with all that permissions, requests to its broker and presenters need. */
export const BINDING_PARTS = {
  app: { include: { space: { include: { organization: true } } } },
  serviceInstance: { include: BOUND_INSTANCE },
} as const
export type BindingParts = Prisma.CredentialBindingGetPayload<{ include: typeof BINDING_PARTS }>

/** Whose developers it belongs to: the app's space, or the instance's for a key. */
export const spaceOfBinding = (binding: BindingParts): BindingParts['serviceInstance']['space'] =>
  binding.app?.space ?? binding.serviceInstance.space
